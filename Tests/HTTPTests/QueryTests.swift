import HTTP
import Testing

@Suite struct QueryTests {
    @Test(arguments: [
        ("", []), ("a=b", [["a", "b"]]), ("a", [["a", ""]]), ("a=", [["a", ""]]), ("=b", [["", "b"]]),
        (
            "=",
            [
                [
                    "",
                    "",
                ]
            ]
        ),
        ("a=b=c", [["a", "b=c"]]), ("a=1&b=2&a=3", [["a", "1"], ["b", "2"], ["a", "3"]]), ("&&a=1&", [["a", "1"]]),
        ("a+b=c+d", [["a b", "c d"]]), ("a%2Bb=%26%3D", [["a+b", "&="]]), ("%61=%C3%A9", [["a", "é"]]),
        ("since=2026-01-01T00:00:00Z", [["since", "2026-01-01T00:00:00Z"]]), ("a=%0A", [["a", "\n"]]),
        ("a=/?:@", [["a", "/?:@"]]),
    ])
    func `a query is its decoded pairs in order`(raw: String, expected: [[String]]) throws {
        #expect(try Query(parsing: raw).map { [$0.name, $0.value] } == expected)
    }

    @Test(arguments: [
        "a=%", "a=%1", "a=%GG", "a=%-1", "%", "a=%00", "a=%80", "a=%C3", "a=%ED%A0%80", "a=%F4%90%80%80", "a= ", "a=é",
        "a=#", "a=%c3&b=%a9", "a[]=1",
    ])
    func `what is not a query in UTF-8 is refused`(raw: String) {
        let failure = #expect(throws: ParseFailure.self) { try Query(parsing: raw) }
        #expect(failure?.status == .badRequest)
    }

    @Test func `a name finds its first value or all of them`() throws {
        let query = try Query(parsing: "a=1&b=2&a=3&A=4")
        #expect(query.first("a") == "1")
        #expect(query.values(of: "a") == ["1", "3"])
        #expect(query.first("c") == nil)
        #expect(query.values(of: "c").isEmpty)
    }
}
