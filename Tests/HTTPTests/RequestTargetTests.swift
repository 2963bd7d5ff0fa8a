import HTTP
import Testing

@Suite struct RequestTargetTests {
    @Test(arguments: [
        ("/", [""], "/"), ("/v1", ["v1"], "/v1"), ("/v1/", ["v1", ""], "/v1/"), ("/a/b?c=d", ["a", "b"], "/a/b"),
        ("/a%20b/%E2%82%AC", ["a b", "€"], "/a b/€"), ("/a+b", ["a+b"], "/a+b"), ("/%25", ["%"], "/%"),
        ("/%252F", ["%2F"], "/%2F"), ("/a%3Fb", ["a?b"], "/a?b"), ("/...", ["..."], "/..."),
        ("http://h/a", ["a"], "/a"), ("http://h", [""], "/"), ("http://h?a", [""], "/"), ("/a?b/../c", ["a"], "/a"),
    ])
    func `a path is split before it is decoded`(raw: String, segments: [String], path: String) throws {
        let target = try RequestTarget(parsing: raw, method: .get)
        #expect(target.raw == raw)
        #expect(target.segments == segments)
        #expect(target.path == path)
    }

    @Test func `the asterisk-form has no segments`() throws {
        let target = try RequestTarget(parsing: "*", method: .options)
        #expect(target.segments.isEmpty)
        #expect(target.path == "*")
        #expect(target.authority == nil)
    }

    @Test func `the absolute-form without a path is the asterisk-form with OPTIONS`() throws {
        let target = try RequestTarget(parsing: "http://a:1", method: .options)
        #expect(target.segments.isEmpty)
        #expect(target.path == "*")
        #expect(target.authority == "a:1")
        #expect(try RequestTarget(parsing: "http://a:1/", method: .options).segments == [""])
        #expect(try RequestTarget(parsing: "http://a:1", method: .get).segments == [""])
    }

    @Test func `the absolute-form has an authority`() throws {
        #expect(try RequestTarget(parsing: "HTTP://[::1]:80?q=1", method: .get).authority == "[::1]:80")
        #expect(try RequestTarget(parsing: "HTTP://[::1]:80?q=1", method: .get).query.first("q") == "1")
        #expect(try RequestTarget(parsing: "/", method: .get).authority == nil)
    }

    @Test(arguments: ["", "*", "a", "http:", "http://", "http://a b", "/a b", "/\u{1}", "/é", "/%", "/a//b", "/#"])
    func `what is no target of a GET is refused`(raw: String) {
        let failure = #expect(throws: ParseFailure.self) { try RequestTarget(parsing: raw, method: .get) }
        #expect(failure?.status == .badRequest)
    }
}
