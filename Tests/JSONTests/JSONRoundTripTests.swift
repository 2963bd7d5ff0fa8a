import JSON
import TestSupport
import Testing

@Suite struct JSONRoundTripTests {
    @Test(arguments: 0..<32)
    func `a random value is itself after writing and reading`(seed: UInt64) throws {
        var random = SplitMix64(state: seed)
        for _ in 0..<50 {
            let value = randomValue(depth: 0, using: &random)
            let bytes = value.encoded()
            #expect(try JSONParser.parse(bytes) == value)
            #expect(try JSONParser.parse(bytes).encoded() == bytes)
        }
    }

    @Test func `a document cut short is refused at its end`() throws {
        let document = Array(#"{"a":[true,false,null,-1.5e3,"x\u00e9\n€"],"b":{"c":""}}"#.utf8)
        _ = try JSONParser.parse(document)
        for count in 0..<document.count {
            #expect(throws: JSONParseFailure.self) { try JSONParser.parse(Array(document.prefix(count))) }
        }
    }

    private func randomValue(depth: Int, using random: inout SplitMix64) -> JSONValue {
        switch Int.random(in: 0...(depth < 5 ? 6 : 4), using: &random) {
        case 0: return .null
        case 1: return .bool(Bool.random(using: &random))
        case 2: return .number(JSONNumber(Int(truncatingIfNeeded: random.next())))
        case 3, 4: return .string(randomString(using: &random))
        case 5:
            return .array(
                (0..<Int.random(in: 0...4, using: &random)).map { _ in randomValue(depth: depth + 1, using: &random) }
            )
        default:
            var object = JSONObject()
            for index in 0..<Int.random(in: 0...4, using: &random) {
                object.append("\(randomString(using: &random))\(index)", randomValue(depth: depth + 1, using: &random))
            }
            return .object(object)
        }
    }

    private func randomString(using random: inout SplitMix64) -> String {
        var text = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0...8, using: &random) {
            let ceiling: UInt32 = [0x20, 0x80, 0x800, 0x1_0000, 0x11_0000].randomElement(using: &random) ?? 0x80
            text.append(Unicode.Scalar(UInt32.random(in: 0..<ceiling, using: &random)) ?? "\u{FFFD}")
        }
        return String(text)
    }
}
