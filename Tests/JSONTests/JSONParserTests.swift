import JSON
import TestSupport
import Testing

@Suite struct JSONParserTests {
    private static let validDocuments: [(String, JSONValue)] = [
        ("null", .null), (" \t\r\n true \n", true), ("false", false), ("0", 0), ("-12", -12), ("\"\"", ""),
        ("[]", []), ("[ ]", []), ("{}", [:]), ("{ }", [:]), ("[1,[2],{}]", [1, [2], [:]]),
        ("{\"b\":1,\"a\":[null,\"x\"]}", ["b": 1, "a": [.null, "x"]]), ("[ 1 , 2 ]", [1, 2]),
        ("{ \"a\" : 1 , \"b\" : 2 }", ["a": 1, "b": 2]), ("{\"\":\"\"}", ["": ""]),
        (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{08}\u{0C}\n\r\t"), (#""\u0041\u00e9\u20AC""#, "Aé€"),
        (#""\ud83d\ude00""#, "😀"), (#""\uD800\uDC00\uDBFF\uDFFF""#, "\u{10000}\u{10FFFF}"), (#""\u0000""#, "\u{0}"),
        (#""a\u0000b""#, "a\u{0}b"), ("\"\u{7F}\u{2028}é€😀\"", "\u{7F}\u{2028}é€😀"),
        (#""\uFEFF\uFFFF""#, "\u{FEFF}\u{FFFF}"), ("\"x\u{FEFF}\"", "x\u{FEFF}"),
        (#"{"a":1,"A":2}"#, ["a": 1, "A": 2]),
        (
            "\"\u{80}\u{7FF}\u{800}\u{D7FF}\u{E000}\u{FFFF}\u{10000}\u{10FFFF}\"",
            "\u{80}\u{7FF}\u{800}\u{D7FF}\u{E000}\u{FFFF}\u{10000}\u{10FFFF}"
        ),
    ]

    @Test(arguments: validDocuments)
    func `a valid document is its value`(text: String, expected: JSONValue) throws {
        let bytes = Array(text.utf8)
        #expect(try JSONParser.parse(bytes) == expected)
        #expect(try JSONParser.parse(bytes.span) == expected)
    }

    @Test(arguments: [
        "0", "-0", "0.0", "10", "1.5", "1e5", "1E5", "1e+5", "1e-5", "-0.1e01", "123456789012345678901234567890",
    ])
    func `a valid number keeps its text`(text: String) throws {
        guard case .number(let number) = try JSONParser.parse(Array(text.utf8)) else {
            Issue.record("not a number")
            return
        }
        #expect(number.text == text)
    }

    @Test(arguments: [
        ("", 0), (" ", 1), ("x", 0), ("nul", 3), ("nulL", 3), ("nullx", 4), ("True", 0), ("NaN", 0), ("Infinity", 0),
        ("-Infinity", 1), ("undefined", 0), ("1 2", 2), ("[] []", 3), ("null,", 4), ("{}}", 2), ("]", 0), ("}", 0),
        (",", 0), (":", 0), ("'a'", 0), ("\u{FEFF}null", 0), ("null\u{0}", 4), ("\u{0C}null", 0), ("\u{A0}null", 0),
        ("/**/null", 0), ("null//", 4), ("[1,/**/2]", 3), ("#", 0),
        ("+1", 0), ("-", 1), ("--1", 1), ("01", 1), ("-01", 2), ("00", 1), ("1.", 2), (".5", 0), ("1.e1", 2), ("1e", 2),
        ("1e+", 3), ("1e1.5", 3), ("0x10", 1), ("1_000", 1), ("1a", 1), ("- 1", 1), ("1 .5", 2), ("٣", 0),
        ("[", 1), ("[1", 2), ("[1,", 3), ("[1,]", 3), ("[,1]", 1), ("[1,,2]", 3), ("[1 2]", 3), ("[1:2]", 2),
        ("[1}", 2), ("[}", 1), ("[\"a\"", 4),
        ("{", 1), ("{\"a\"", 4), ("{\"a\":", 5), ("{\"a\":1", 6), ("{\"a\":1,", 7), ("{\"a\":1,}", 7), ("{,}", 1),
        ("{a:1}", 1),
        ("{'a':1}", 1), ("{1:2}", 1), ("{null:1}", 1), ("{\"a\" 1}", 5), ("{\"a\",1}", 4), ("{\"a\":}", 5),
        ("{\"a\":1 \"b\":2}", 7), ("{\"a\":1]", 6), ("{]", 1), ("{\"a\"::1}", 5), ("{\"a\":1,,\"b\":2}", 7),
        ("{\"a\":1,\"a\":2}", 7), ("{\"a\":1, \"b\":2, \"a\":1}", 15), (#"{"a":1,"\u0061":2}"#, 7),
        (#"{"/":1,"\/":2}"#, 7),
        (#"{"x":{"a":1},"y":[{"b":1,"b":2}]}"#, 25), (#"{"":1,"":2}"#, 6), (#"{"\ud83d\ude00":1,"😀":2}"#, 18),
        ("\"", 1), ("\"a", 2), ("\"\\", 2), ("\"\\\"", 3), ("\"\n\"", 1), ("\"a\tb\"", 2), ("\"\u{0}\"", 1),
        ("\"\u{1F}\"", 1),
        (#""\x41""#, 1), (#""\a""#, 1), (#""\'""#, 1), (#""\U0041""#, 1), (#""\0""#, 1), (#""\u""#, 3), (#""\u12""#, 5),
        (#""\u123g""#, 6), (#""\u+123""#, 3), (#""\u 123""#, 3), ("\"\\u12", 5), ("\"\\é\"", 1),
        (#""\ud800""#, 1), (#""a\udc00""#, 2), (#""\ud800\ud800""#, 1), (#""\ud800x""#, 1), (#""\ud800\n""#, 1),
        (#""\udc00\ud800""#, 1), (#""\ud800\u0041""#, 1), (#""\ud800\u00""#, 11), ("\"\\ud800", 1), (#""\udfff""#, 1),
        (#""\udc00\u00""#, 1),
        (#""\ud83d\ude00\ud83d""#, 13),
    ])
    func `an invalid document fails at its first wrong byte`(text: String, offset: Int) {
        let failure = #expect(throws: JSONParseFailure.self) { try JSONParser.parse(Array(text.utf8)) }
        #expect(failure?.offset == offset)
        #expect(failure?.reason.isEmpty == false)
    }

    @Test(arguments: [
        ([0x80], 1), ([0xBF], 1), ([0xC0, 0x80], 1), ([0xC1, 0xBF], 1), ([0xC2], 1), ([0xC2, 0x20], 1),
        ([0xC2, 0xC2], 1), ([0xE0, 0x80, 0x80], 1), ([0xE0, 0x9F, 0xBF], 1), ([0xE2, 0x82], 1),
        ([0xE2, 0x82, 0x22], 1),
        ([0xED, 0xA0, 0x80], 1),
        ([0xED, 0xBF, 0xBF], 1), ([0xF0, 0x80, 0x80, 0x80], 1), ([0xF0, 0x8F, 0xBF, 0xBF], 1), ([0xF0, 0x9F, 0x98], 1),
        ([0xF4, 0x90, 0x80, 0x80], 1), ([0xF5, 0x80, 0x80, 0x80], 1), ([0xF8, 0x88, 0x80, 0x80, 0x80], 1), ([0xFE], 1),
        ([0xFF], 1), ([0x61, 0xC3, 0xA9, 0xFF], 4), ([0x61, 0xC3], 2),
    ])
    func `bytes that are not UTF-8 are refused where they begin`(content: [UInt8], offset: Int) {
        for end in [[], [0x22]] as [[UInt8]] {
            let failure = #expect(throws: JSONParseFailure.self) { try JSONParser.parse([0x22] + content + end) }
            #expect(failure == JSONParseFailure(offset: offset, reason: "the text is not UTF-8"))
        }
    }

    @Test func `keys that Unicode calls equivalent are different keys`() throws {
        let text = "{\"\u{E9}\":1,\"e\u{301}\":2}"
        guard case .object(let object) = try JSONParser.parse(Array(text.utf8)) else {
            Issue.record("not an object")
            return
        }
        #expect(object["\u{E9}"] == 1)
        #expect(object["e\u{301}"] == 2)
        #expect(JSONValue.string("\u{E9}") != "e\u{301}")
    }

    @Test(arguments: [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")])
    func `nesting is accepted to the limit and no deeper`(begin: String, end: String) throws {
        let levels = begin.hasPrefix("[{") ? 2 : 1
        func nested(_ count: Int) -> [UInt8] {
            Array((String(repeating: begin, count: count) + "1" + String(repeating: end, count: count)).utf8)
        }
        _ = try JSONParser.parse(nested(64 / levels))
        let failure = #expect(throws: JSONParseFailure.self) { try JSONParser.parse(nested(64 / levels + 1)) }
        #expect(failure?.offset == 64 / levels * begin.utf8.count)
        #expect(throws: JSONParseFailure.self) { try JSONParser.parse(nested(10_000)) }
        #expect(throws: JSONParseFailure.self) {
            try JSONParser.parse(Array(String(repeating: begin, count: 100_000).utf8))
        }
    }

    @Test func `empty arrays count as depth`() throws {
        var limits = JSONLimits()
        limits.depthLimit = 1
        _ = try JSONParser.parse(Array("[]".utf8), limits: limits)
        let failure = #expect(throws: JSONParseFailure.self) {
            try JSONParser.parse(Array("[[]]".utf8), limits: limits)
        }
        #expect(failure?.offset == 1)
    }

    @Test func `depth is nesting and not number`() throws {
        _ = try JSONParser.parse(Array(("[" + String(repeating: "[],{},", count: 100) + "1]").utf8))
    }

    @Test func `values are accepted to the limit and no further`() throws {
        let accepted = "[" + String(repeating: "1,", count: 9_998) + "1]"
        _ = try JSONParser.parse(Array(accepted.utf8))
        let refused = "[" + String(repeating: "1,", count: 9_999) + "1]"
        let failure = #expect(throws: JSONParseFailure.self) { try JSONParser.parse(Array(refused.utf8)) }
        #expect(failure?.offset == refused.utf8.count - 2)
    }

    @Test func `many keys of one object are told apart`() throws {
        let members = (0..<9_000).map { "\"k\($0)\":\($0)" }.joined(separator: ",")
        guard case .object(let object) = try JSONParser.parse(Array("{\(members)}".utf8)) else {
            Issue.record("not an object")
            return
        }
        #expect(object.count == 9_000)
        #expect(object.map(\.key).prefix(2) == ["k0", "k1"])
        #expect(object["k8999"] == 8999)
        #expect(throws: JSONParseFailure.self) { try JSONParser.parse(Array("{\(members),\"k0\":0}".utf8)) }
    }

    @Test func `random bytes are a value or a failure and never a crash`() {
        var random = SplitMix64(state: 7)
        let alphabet = Array("{}[]\",:\\u0123eE+-.ntf trueflsd/\u{1}\u{FF}é".utf8) + [0xFF, 0xED, 0xA0]
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0...24, using: &random)).map { _ in
                alphabet.randomElement(using: &random) ?? 0
            }
            do throws(JSONParseFailure) {
                let value = try JSONParser.parse(bytes)
                #expect((try? JSONParser.parse(value.encoded())) == value)
            } catch {
                #expect((0...bytes.count).contains(error.offset))
            }
        }
    }
}
