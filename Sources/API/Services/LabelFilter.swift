internal import HTTP
internal import Services

/// The query parameter `label`: `?label=team=web`, or `?label=team` for any value. All of several must match.
struct LabelFilter {
    static let parameter = "label"

    private let key: String
    private let value: String?

    /// Throws a 400 for a text without a key.
    static func requested(by query: Query) throws(Failure) -> [LabelFilter] {
        var filters: [LabelFilter] = []
        for text in query.values(of: parameter) {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let key = parts.first, !key.isEmpty else {
                throw .badRequest("the query parameter '\(parameter)' takes KEY=VALUE or KEY")
            }
            filters.append(LabelFilter(key: key, value: parts.count > 1 ? parts[1] : nil))
        }
        return filters
    }

    func isOf(_ spec: ServiceSpec) -> Bool {
        guard let label = spec.labels[key] else { return false }
        return value.map { label.utf8.elementsEqual($0.utf8) } ?? true
    }
}
