/// The size in the line before each chunk. RFC 9112 §7.1.
enum ChunkSize {
    /// Parses a line without its line end: hexadecimal digits, then nothing or extensions, which are ignored.
    ///
    /// No whitespace may follow the size, although the grammar has room for it before an extension: recipients
    /// disagree about it, and no client sends it.
    static func parse(_ line: ArraySlice<UInt8>) throws(ParseFailure) -> UInt64 {
        let digits = line.prefix { $0.hexadecimalValue != nil }
        guard !digits.isEmpty else { throw .badRequest("a chunk size is not a hexadecimal number") }
        // Sixteen digits fill 64 bits, so the sum below cannot overflow.
        guard digits.count <= 16 else { throw .badRequest("a chunk size has too many digits") }
        let rest = line[digits.endIndex...]
        guard rest.isEmpty || rest.first == UInt8(ascii: ";") else {
            throw .badRequest("a chunk size is followed by something other than an extension")
        }
        try checkExtensions(rest)
        return digits.reduce(0) { $0 << 4 | UInt64($1.hexadecimalValue ?? 0) }
    }

    /// RFC 9112 §7.1.1: each extension is a semicolon, a token and perhaps an equals sign with a token or a quoted
    /// string. The whitespace that the grammar calls bad is refused.
    private static func checkExtensions(_ extensions: ArraySlice<UInt8>) throws(ParseFailure) {
        var rest = extensions
        while rest.first == UInt8(ascii: ";") {
            rest = rest.dropFirst()
            try takeToken(&rest)
            guard rest.first == UInt8(ascii: "=") else { continue }
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: "\"") {
                try takeQuotedString(&rest)
            } else {
                try takeToken(&rest)
            }
        }
        guard rest.isEmpty else { throw invalidExtension }
    }

    private static func takeToken(_ rest: inout ArraySlice<UInt8>) throws(ParseFailure) {
        guard rest.first?.isTokenCharacter == true else { throw invalidExtension }
        rest = rest.drop(while: \.isTokenCharacter)
    }

    /// RFC 9110 §5.6.4.
    private static func takeQuotedString(_ rest: inout ArraySlice<UInt8>) throws(ParseFailure) {
        rest = rest.dropFirst()
        while let byte = rest.popFirst(), !byte.isControl || byte == .horizontalTab {
            if byte == UInt8(ascii: "\"") { return }
            if byte == UInt8(ascii: "\\"), rest.popFirst()?.isControl != false { break }
        }
        throw invalidExtension
    }

    private static let invalidExtension = ParseFailure.badRequest("a chunk extension is invalid")
}
