/// The field lines of a message, in the order they were sent. RFC 9110 §5.
///
/// Names are compared without regard to case. Lookups are linear: a message has some ten lines and at most
/// `Limits.headerFieldsLimit`.
public struct Fields: Hashable, Sendable {
    private struct Line: Hashable, Sendable {
        var name: String
        var value: String
    }

    private var lines: [Line] = []

    /// No lines at all.
    public init() {}

    /// The value of a field, nil when absent. RFC 9110 §5.3: several lines are one value, joined with a comma.
    public subscript(_ name: String) -> String? {
        var joined: String?
        for line in lines where equalIgnoringCase(line.name, name) {
            joined = joined.map { "\($0), \(line.value)" } ?? line.value
        }
        return joined
    }

    /// The value of each line of a field, in order.
    public func values(of name: String) -> [String] {
        var values: [String] = []
        for line in lines where equalIgnoringCase(line.name, name) {
            values.append(line.value)
        }
        return values
    }

    /// Whether there is a line of that name.
    public func contains(_ name: String) -> Bool {
        lines.contains { equalIgnoringCase($0.name, name) }
    }

    /// Adds a line and leaves those of the same name as they are.
    public mutating func append(_ name: String, _ value: String) {
        lines.append(Line(name: name, value: value))
    }

    /// Leaves exactly one line of that name, at the place of the first one there was.
    public mutating func set(_ name: String, to value: String) {
        guard let first = lines.firstIndex(where: { equalIgnoringCase($0.name, name) }) else {
            return append(name, value)
        }
        remove(name)
        lines.insert(Line(name: name, value: value), at: first)
    }

    /// Removes every line of that name.
    public mutating func remove(_ name: String) {
        lines.removeAll { equalIgnoringCase($0.name, name) }
    }
}

extension Fields: RandomAccessCollection {
    public var startIndex: Int { 0 }
    public var endIndex: Int { lines.count }

    public subscript(position: Int) -> (name: String, value: String) {
        (lines[position].name, lines[position].value)
    }
}

extension Fields: ExpressibleByDictionaryLiteral {
    /// Keeps order and repeated names.
    public init(dictionaryLiteral elements: (String, String)...) {
        for (name, value) in elements {
            append(name, value)
        }
    }
}
