import JSON
import Testing

@Suite struct JSONWriterTests {
    private func text(_ write: (inout JSONWriter) -> Void) -> String {
        var writer = JSONWriter()
        write(&writer)
        return String(decoding: writer.finish(), as: UTF8.self)
    }

    @Test func `members and elements stand in the order of the calls`() {
        let written = text { writer in
            writer.beginObject()
            writer.member("z", string: "1")
            writer.key("a")
            writer.beginArray()
            writer.integer(-2)
            writer.bool(true)
            writer.null()
            writer.beginArray()
            writer.endArray()
            writer.beginObject()
            writer.endObject()
            writer.string("x")
            writer.endArray()
            writer.member("m", integer: 3)
            writer.member("n", bool: false)
            writer.member("o", ["k": [1, .null]])
            writer.key("r")
            writer.raw(Array("[0]".utf8))
            writer.endObject()
        }
        #expect(written == #"{"z":"1","a":[-2,true,null,[],{},"x"],"m":3,"n":false,"o":{"k":[1,null]},"r":[0]}"#)
    }

    @Test func `nil is null`() {
        let written = text { writer in
            writer.beginObject()
            writer.member("a", string: nil)
            writer.member("b", integer: nil)
            writer.member("c", bool: nil)
            writer.key("d")
            writer.string(nil)
            writer.endObject()
        }
        #expect(written == #"{"a":null,"b":null,"c":null,"d":null}"#)
    }

    @Test(arguments: [
        ("", #""""#), ("plain", #""plain""#), ("\"\\/", #""\"\\/""#), ("\u{08}\t\n\u{0C}\r", #""\b\t\n\f\r""#),
        ("\u{0}\u{1}\u{0B}\u{10}\u{1F}", #""\u0000\u0001\u000b\u0010\u001f""#),
        (
            "\u{7F}\u{2028}\u{2029}é😀",
            "\"\u{7F}\u{2028}\u{2029}é😀\""
        ),
        ("é\n€", #""é\n€""#), ("\r\n", #""\r\n""#),
    ])
    func `only what must be escaped is escaped`(value: String, expected: String) throws {
        #expect(text { $0.string(value) } == expected)
        #expect(try JSONParser.parse(Array(expected.utf8)) == .string(value))
    }

    @Test func `every ASCII character survives in values and keys`() throws {
        for code in UInt8(0)..<128 {
            let character = String(Unicode.Scalar(code))
            let written = text { writer in
                writer.beginObject()
                writer.member(character, string: character)
                writer.endObject()
            }
            var expected = JSONObject()
            expected.append(character, .string(character))
            #expect(try JSONParser.parse(Array(written.utf8)) == .object(expected))
        }
    }

    @Test func `numbers are written as they were read`() throws {
        let document = "[1,-0,2352.0,1e3,123456789012345678901234567890]"
        #expect(try JSONParser.parse(Array(document.utf8)).encoded() == Array(document.utf8))
    }

    @Test(arguments: [(Int.min, "-9223372036854775808"), (Int.max, "9223372036854775807"), (0, "0")])
    func `an integer is written whole`(value: Int, expected: String) {
        #expect(text { $0.integer(value) } == expected)
    }

    @Test func `an incomplete value is a bug`() async {
        await #expect(processExitsWith: .failure) {
            var writer = JSONWriter()
            writer.beginArray()
            _ = writer.finish()
        }
    }

    @Test func `a value without a key is a bug`() async {
        await #expect(processExitsWith: .failure) {
            var writer = JSONWriter()
            writer.beginObject()
            writer.null()
        }
    }

    @Test func `a key without a value is a bug`() async {
        await #expect(processExitsWith: .failure) {
            var writer = JSONWriter()
            writer.beginObject()
            writer.key("a")
            writer.endObject()
        }
    }

    @Test func `a second value is a bug`() async {
        await #expect(processExitsWith: .failure) {
            var writer = JSONWriter()
            writer.null()
            writer.null()
        }
    }

    @Test func `an end that does not fit is a bug`() async {
        await #expect(processExitsWith: .failure) {
            var writer = JSONWriter()
            writer.beginObject()
            writer.endArray()
        }
    }
}
