internal import HTTP
internal import Services

/// The query parameter `usage`: whether the answer tells what the processes use.
enum Usage {
    static let parameter = "usage"

    /// Throws a 400 for any other value than `true` and `false`.
    static func isRequested(by query: Query) throws(Failure) -> Bool {
        switch query.first(parameter) {
        case nil, "false": return false
        case "true": return true
        default: throw .badRequest("the query parameter '\(parameter)' takes 'true' or 'false'")
        }
    }

    /// What the processes of services use, by the service's name; nil where the client does not ask for it.
    static func requested(of services: [Service], _ api: API, _ context: Context) async throws(Failure) -> Figures? {
        try isRequested(by: context.query) ? await api.control.usage(of: services.map(\.name)) : nil
    }

    typealias Figures = [ServiceName: ResourceUsage]
}
