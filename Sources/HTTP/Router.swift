/// Finds what handles a request in a table of methods and path patterns.
///
/// A pattern such as `/v1/services/{ref}/start` is made of literal segments, which are compared byte for byte, and
/// parameters, which stand for exactly one segment that is not empty. Where several patterns match a path, the one with
/// the leftmost literal wins; its methods decide about 405. HEAD is answered by the handler of GET unless it has one of
/// its own. Lookup is linear in the table, which is some twenty lines.
public struct Router<Handler: Sendable>: Sendable {
    @usableFromInline let table: RouteTable
    @usableFromInline let handlers: [Handler]

    /// Precondition: each pattern begins with a slash, parameters are whole segments with distinct names that are not
    /// empty, and no method has two patterns that match the same paths.
    public init(_ table: [(method: Method, pattern: String, handler: Handler)]) {
        self.table = RouteTable(table.map { ($0.method, $0.pattern) })
        handlers = table.map(\.handler)
    }

    /// Looks up a path by its decoded segments, as `RequestTarget.segments` has them.
    // Inlinable, so that it is specialized for the caller's handler type.
    @inlinable
    public func route(_ method: Method, _ segments: [String]) -> RouteMatch<Handler> {
        switch table.route(method, segments) {
        case .found(let line, let parameters): .found(handlers[line], parameters: parameters)
        case .methodNotAllowed(let allowed): .methodNotAllowed(allowed: allowed)
        case .notFound: .notFound
        }
    }
}

/// The lines of a router's table, by their number.
@usableFromInline
struct RouteTable: Sendable {
    private enum Segment: Hashable, Sendable {
        case literal(String)
        case parameter(String)

        /// Whether it stands in the same place for the same: the names of parameters do not matter.
        func isEquivalent(to other: Segment) -> Bool {
            switch (self, other) {
            case (.literal(let text), .literal(let otherText)): text == otherText
            case (.parameter, .parameter): true
            case (.literal, .parameter), (.parameter, .literal): false
            }
        }
    }

    private struct Line: Sendable {
        let method: Method
        let number: Int
        /// Parameters are named by each line.
        let segments: [Segment]
    }

    /// What matches the same paths.
    private struct Pattern: Sendable {
        let segments: [Segment]
        var lines: [Line]
    }

    private var patterns: [Pattern] = []

    init(_ table: [(method: Method, pattern: String)]) {
        for (number, line) in table.enumerated() {
            let segments = Self.parsePattern(line.pattern)
            let entry = Line(method: line.method, number: number, segments: segments)
            guard let index = patterns.firstIndex(where: { Self.areEquivalent($0.segments, segments) }) else {
                patterns.append(Pattern(segments: segments, lines: [entry]))
                continue
            }
            precondition(
                !patterns[index].lines.contains { $0.method == line.method },
                "two routes for \(line.method) \(line.pattern)",
            )
            patterns[index].lines.append(entry)
        }
    }

    @usableFromInline
    func route(_ method: Method, _ segments: [String]) -> RouteMatch<Int> {
        var best: Int?
        for index in patterns.indices where Self.matches(patterns[index].segments, segments) {
            let isBetter = best.map { Self.isMoreSpecific(patterns[index].segments, than: patterns[$0].segments) }
            if isBetter ?? true { best = index }
        }
        guard let best else { return .notFound }
        let lines = patterns[best].lines
        let line = lines.first { $0.method == method } ?? lines.first { $0.method == .get && method == .head }
        guard let line else { return .methodNotAllowed(allowed: Self.allowedMethods(lines)) }
        return .found(line.number, parameters: Self.parameters(line.segments, segments))
    }

    private static func parsePattern(_ pattern: String) -> [Segment] {
        precondition(pattern.utf8.first == UInt8(ascii: "/"), "the pattern \(pattern) does not begin with a slash")
        var names: Set<String> = []
        return pattern.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map { text in
            guard text.hasPrefix("{"), text.hasSuffix("}") else {
                precondition(!text.contains("{") && !text.contains("}"), "a parameter of \(pattern) is not a segment")
                return .literal(String(text))
            }
            let name = String(text.dropFirst().dropLast())
            precondition(!name.isEmpty && names.insert(name).inserted, "the parameters of \(pattern) need names")
            return .parameter(name)
        }
    }

    /// Whether two patterns match the same paths.
    private static func areEquivalent(_ left: [Segment], _ right: [Segment]) -> Bool {
        left.count == right.count && zip(left, right).allSatisfy { $0.isEquivalent(to: $1) }
    }

    /// Compares two patterns that match the same path.
    private static func isMoreSpecific(_ left: [Segment], than right: [Segment]) -> Bool {
        for pair in zip(left, right) {
            switch pair {
            case (.literal, .parameter): return true
            case (.parameter, .literal): return false
            case (.literal, .literal), (.parameter, .parameter): continue
            }
        }
        return false
    }

    private static func matches(_ pattern: [Segment], _ segments: [String]) -> Bool {
        guard pattern.count == segments.count else { return false }
        for index in pattern.indices {
            switch pattern[index] {
            // Strings compare by canonical equivalence; a path is compared by its bytes.
            case .literal(let text): guard equalBytes(text, segments[index]) else { return false }
            case .parameter: guard !segments[index].isEmpty else { return false }
            }
        }
        return true
    }

    private static func parameters(_ pattern: [Segment], _ segments: [String]) -> RouteParameters {
        var parameters = RouteParameters()
        for (expected, segment) in zip(pattern, segments) {
            if case .parameter(let name) = expected {
                parameters.append(name, segment)
            }
        }
        return parameters
    }

    private static func allowedMethods(_ lines: [Line]) -> [Method] {
        var methods: [Method] = []
        for method in lines.flatMap({ $0.method == .get ? [.get, .head] : [$0.method] })
        where !methods.contains(method) {
            methods.append(method)
        }
        return methods
    }
}
