/// What stood in the places of a pattern's parameters, decoded.
public struct RouteParameters: Hashable, Sendable {
    private struct Parameter: Hashable, Sendable {
        let name: String
        let value: String
    }

    private var parameters: [Parameter] = []

    init() {}

    /// The segment that stood for `{name}`; nil when the pattern has no such parameter. Never empty.
    public subscript(_ name: String) -> String? {
        parameters.first { $0.name == name }?.value
    }

    mutating func append(_ name: String, _ value: String) {
        parameters.append(Parameter(name: name, value: value))
    }
}
