/// What is wrong with a request, field by field.
public struct FieldProblems: Error, Equatable, Sendable {
    /// A field and a reason that completes the sentence "FIELD …".
    public struct Problem: Equatable, Sendable {
        public let field: String
        public let reason: String
    }

    /// In the order in which they were found; one for each field.
    public private(set) var all: [Problem] = []

    public init() {}

    public var isEmpty: Bool { all.isEmpty }

    /// Adds a problem, unless the field has one or `reason` is nil.
    public mutating func add(_ field: String, _ reason: String?) {
        guard let reason, !all.contains(where: { $0.field == field }) else { return }
        all.append(Problem(field: field, reason: reason))
    }
}
