/// Finds what handles a request in a table of methods and path patterns.
///
/// A pattern such as `/v1/services/{ref}/start` is made of literal segments, which are compared byte for byte, and
/// parameters, which stand for exactly one segment that is not empty. Where several patterns match a path, the one with
/// the leftmost literal wins; its methods decide about 405. HEAD is answered by the handler of GET unless it has one of
/// its own. Lookup is linear in the table, which is some twenty lines.
public struct Router<Handler: Sendable>: Sendable {
    private enum Segment: Hashable, Sendable {
        case literal(String)
        case parameter(String)
    }

    private struct Route: Sendable {
        let method: Method
        let segments: [Segment]
        let handler: Handler
    }

    private let routes: [Route]

    /// Precondition: each pattern begins with a slash, parameters are whole segments with distinct names that are not
    /// empty, and no method has two patterns that match the same paths.
    public init(_ table: [(method: Method, pattern: String, handler: Handler)]) {
        var routes: [Route] = []
        for line in table {
            let segments = Self.parsePattern(line.pattern)
            precondition(
                !routes.contains { $0.method == line.method && Self.areEquivalent($0.segments, segments) },
                "two routes for \(line.method) \(line.pattern)",
            )
            routes.append(Route(method: line.method, segments: segments, handler: line.handler))
        }
        self.routes = routes
    }

    /// Looks up a path by its decoded segments, as `RequestTarget.segments` has them.
    public func route(_ method: Method, _ segments: [String]) -> RouteMatch<Handler> {
        var best: [Route] = []
        for route in routes where Self.matches(route.segments, segments) {
            if let first = best.first, !Self.areEquivalent(first.segments, route.segments) {
                guard Self.isMoreSpecific(route.segments, than: first.segments) else { continue }
                best = []
            }
            best.append(route)
        }
        guard !best.isEmpty else { return .notFound }
        let route =
            best.first { $0.method == method } ?? (method == .head ? best.first { $0.method == .get } : nil)
        guard let route else { return .methodNotAllowed(allowed: Self.allowedMethods(best)) }
        return .found(route.handler, parameters: Self.parameters(route.segments, segments))
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

    /// Whether two patterns match the same paths: only the names of their parameters differ.
    private static func areEquivalent(_ left: [Segment], _ right: [Segment]) -> Bool {
        left.count == right.count
            && zip(left, right).allSatisfy { pair in
                switch pair {
                case (.literal(let leftText), .literal(let rightText)): leftText == rightText
                case (.parameter, .parameter): true
                case (.literal, .parameter), (.parameter, .literal): false
                }
            }
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
        pattern.count == segments.count
            && zip(pattern, segments).allSatisfy { expected, segment in
                switch expected {
                // Strings compare by canonical equivalence; a path is compared by its bytes.
                case .literal(let text): text.utf8.elementsEqual(segment.utf8)
                case .parameter: !segment.isEmpty
                }
            }
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

    private static func allowedMethods(_ routes: [Route]) -> [Method] {
        var methods: [Method] = []
        for method in routes.flatMap({ $0.method == .get ? [.get, .head] : [$0.method] })
        where !methods.contains(method) {
            methods.append(method)
        }
        return methods
    }
}
