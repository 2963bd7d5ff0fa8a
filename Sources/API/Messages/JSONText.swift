internal import JSON

/// The encoding of text in a JSON string.
enum JSONText {
    /// The longest prefix of a text whose encoding in a JSON string has at most `limit` bytes.
    static func prefix(of text: String, encodedBytes limit: Int) -> String {
        var bytes = 0
        for index in text.unicodeScalars.indices {
            let scalar = text.unicodeScalars[index]
            switch scalar {
            case "\"", "\\", "\u{8}", "\t", "\n", "\u{C}", "\r": bytes += 2
            case "\u{85}", "\u{2028}", "\u{2029}": bytes += 6
            case _ where scalar.value < 0x20: bytes += 6
            default: bytes += UTF8.width(scalar)
            }
            if bytes > limit { return String(text.unicodeScalars[..<index]) }
        }
        return text
    }
}

extension JSONObject {
    /// The object in the body of a request. Throws a 400 for a body that is not JSON, or another value.
    init(ofBody body: [UInt8]) throws(Failure) {
        let value: JSONValue
        do throws(JSONParseFailure) {
            value = try JSONParser.parse(body)
        } catch {
            throw .notJSON(error.reason, offset: error.offset)
        }
        guard case .object(let object) = value else {
            throw .badRequest("the body must be a JSON object, not \(value.typeName)")
        }
        self = object
    }
}
