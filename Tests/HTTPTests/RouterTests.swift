import HTTP
import Testing

@Suite struct RouterTests {
    private let router = Router([
        (.get, "/", "root"),
        (.get, "/v1", "computer"),
        (.post, "/v1/services", "create"),
        (.get, "/v1/services", "list"),
        (.get, "/v1/services/{ref}", "read"),
        (.put, "/v1/services/{name}", "replace"),
        (.delete, "/v1/services/{ref}", "delete"),
        (.post, "/v1/services/{ref}/start", "start"),
        (.get, "/v1/services/{ref}/{part}", "part"),
        (.get, "/v1/services/web/unit", "web unit"),
        (.get, "/v1/services/{ref}/unit", "unit"),
        (.head, "/healthz", "healthz head"),
        (.get, "/healthz", "healthz"),
        (.get, "/api/v1/computers/{computer}/services/{ref}", "mounted"),
    ])

    /// What was found in one line: the handler with its parameters, the allowed methods, or nothing.
    private func look(_ method: Method, _ path: String) throws -> String {
        let segments = try RequestTarget(parsing: path, method: method).segments
        return switch router.route(method, segments) {
        case .found(let handler, let parameters):
            ["name", "ref", "part", "computer"].reduce(handler) { text, name in
                parameters[name].map { "\(text) \(name)=\($0)" } ?? text
            }
        case .methodNotAllowed(let allowed): allowed.map(\.rawValue).joined(separator: ", ")
        case .notFound: "nothing"
        }
    }

    @Test(arguments: [
        (Method.get, "/", "root"), (.get, "/v1", "computer"), (.get, "/v1/services", "list"),
        (.post, "/v1/services", "create"), (.get, "/v1/services/web", "read ref=web"),
        (.put, "/v1/services/web", "replace name=web"), (.delete, "/v1/services/a%20b", "delete ref=a b"),
        (.post, "/v1/services/web/start", "start ref=web"), (.get, "/v1/services/web/unit", "web unit"),
        (.get, "/v1/services/api/unit", "unit ref=api"), (.get, "/v1/services/api/x", "part ref=api part=x"),
        (.get, "/v1/services/services", "read ref=services"), (.get, "/v1/services/%7Bref%7D", "read ref={ref}"),
        (.get, "/api/v1/computers/self/services/web", "mounted ref=web computer=self"),
        (.head, "/v1/services/web", "read ref=web"), (.head, "/healthz", "healthz head"), (.get, "/healthz", "healthz"),
        (.patch, "/v1/services", "POST, GET, HEAD"), (.head, "/v1/services/web/start", "POST"),
        (.get, "/v1/services/web/start", "POST"), (.post, "/v1/services/web", "GET, HEAD, PUT, DELETE"),
        (.post, "/healthz", "HEAD, GET"), (.options, "/v1", "GET, HEAD"), (.options, "*", "nothing"),
        (.get, "/v1/", "nothing"), (.get, "/v1/services/", "nothing"), (.get, "/v1/services/web/", "nothing"),
        (.get, "/v1/services/web/start/x", "nothing"), (.get, "/V1/services", "nothing"), (.get, "/v2", "nothing"),
        (.get, "/v1%20", "nothing"), (Method(rawValue: "BREW") ?? .get, "/v1", "GET, HEAD"),
        (Method(rawValue: "get") ?? .get, "/v1", "GET, HEAD"),
    ])
    func `a method and a path find their line of the table`(method: Method, path: String, expected: String) throws {
        #expect(try look(method, path) == expected)
    }

    @Test func `literals are compared byte for byte`() {
        let router = Router([(.get, "/caf\u{E9}", 1)])
        guard case .notFound = router.route(.get, ["cafe\u{301}"]) else {
            Issue.record("equivalent is not equal")
            return
        }
    }

    @Test func `the order of the table does not matter for literals`() {
        for table in [
            [(Method.get, "/{a}/b", 1), (.get, "/a/{b}", 2)], [(.get, "/a/{b}", 2), (Method.get, "/{a}/b", 1)],
        ] {
            guard case .found(2, let parameters) = Router(table).route(.get, ["a", "b"]) else {
                Issue.record("the leftmost literal wins")
                return
            }
            #expect(parameters["b"] == "b")
            #expect(parameters["a"] == nil)
        }
    }

    @Test func `two lines for one request are a bug`() async {
        await #expect(processExitsWith: .failure) {
            _ = Router([(.get, "/a/{b}", 1), (.get, "/a/{c}", 2)])
        }
    }

    @Test func `a parameter that is not a whole segment is a bug`() async {
        await #expect(processExitsWith: .failure) {
            _ = Router([(.get, "/a/x{b}", 1)])
        }
    }
}
