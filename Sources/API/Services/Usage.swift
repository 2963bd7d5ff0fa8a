internal import HTTP
internal import Services

/// The query parameter `usage`: whether the answer includes the resource usage of the processes.
enum Usage {
    static let parameter = "usage"

    /// Throws a 400 for any other value than `true` and `false`.
    static func isRequested(by query: Query) throws(Failure) -> Bool {
        try query.flag(parameter)
    }

    /// The resource usage of services, by name; nil if it is not requested.
    static func requested(of services: [Service], _ api: API, _ context: Context) async throws(Failure) -> Figures? {
        try isRequested(by: context.query) ? await context.control.usage(of: services.map(\.name)) : nil
    }

    typealias Figures = [ServiceName: ResourceUsage]
}

extension Query {
    /// A parameter that is `true` or `false`. Throws a 400 for any other value.
    func flag(_ parameter: String, else absent: Bool = false) throws(Failure) -> Bool {
        switch first(parameter) {
        case nil: return absent
        case "false": return false
        case "true": return true
        default: throw .badRequest("the query parameter '\(parameter)' takes 'true' or 'false'")
        }
    }
}
