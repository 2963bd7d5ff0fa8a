import JSON
import Testing

@Suite struct JSONValueTests {
    @Test func `an object keeps the order of its members and finds them by key`() {
        var object = JSONObject()
        object.append("b", 1)
        object.append("a", .null)
        #expect(object.map(\.key) == ["b", "a"])
        #expect(object["b"] == 1)
        #expect(object["a"] == .null)
        #expect(object["a"] != nil)
        #expect(object["c"] == nil)
    }

    @Test func `values are equal when kind and content are`() {
        #expect(JSONValue.bool(true) != 1)
        #expect([1, "a", [.null]] as JSONValue == [1, "a", [.null]])
        #expect(["a": 1, "b": 2] as JSONValue != ["b": 2, "a": 1])
    }

    private static let typeNames: [(JSONValue, String)] = [
        (.null, "null"), (true, "boolean"), (1, "number"), ("", "string"), ([], "array"), ([:], "object"),
    ]

    @Test(arguments: typeNames)
    func `a value has the type name that JSON gives it`(value: JSONValue, expected: String) {
        #expect(value.typeName == expected)
    }

    @Test func `a failure tells its place`() {
        #expect("\(JSONParseFailure(offset: 3, reason: "a digit is expected"))" == "a digit is expected at byte 3")
    }

    @Test func `a key twice is a bug of the caller`() async {
        await #expect(processExitsWith: .failure) {
            var object = JSONObject()
            object.append("a", 1)
            object.append("a", 2)
        }
    }
}
