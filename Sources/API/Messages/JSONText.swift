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
