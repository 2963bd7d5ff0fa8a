/// One line of a header or trailer section. RFC 9112 §5.
struct FieldLine {
    let name: String
    let value: String

    /// Parses a line without its line end, in which bare line ends and control characters were refused already.
    init(parsing line: ArraySlice<UInt8>) throws(ParseFailure) {
        guard line.first != .space, line.first != .horizontalTab else {
            // RFC 9112 §5.2 (obs-fold) and §2.2 (whitespace before the first field).
            throw .badRequest("a field line begins with whitespace")
        }
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else {
            throw .badRequest("a field line has no colon")
        }
        let nameBytes = line[..<colon]
        guard !nameBytes.isEmpty else { throw .badRequest("a field name is empty") }
        guard nameBytes.last != .space, nameBytes.last != .horizontalTab else {
            // RFC 9112 §5.1: whitespace before the colon has been used to smuggle requests.
            throw .badRequest("there is whitespace between a field name and its colon")
        }
        guard nameBytes.allSatisfy(\.isTokenCharacter) else {
            throw .badRequest("a field name contains a character that is not allowed")
        }
        name = String(decoding: nameBytes, as: UTF8.self)

        var valueBytes = line[(colon + 1)...]
        while valueBytes.first == .space || valueBytes.first == .horizontalTab { valueBytes.removeFirst() }
        while valueBytes.last == .space || valueBytes.last == .horizontalTab { valueBytes.removeLast() }
        guard let value = String(validating: valueBytes, as: UTF8.self) else {
            throw .badRequest("a field value is not UTF-8")
        }
        self.value = value
    }

    /// RFC 9110 §6.5.1: fields that frame, route, authenticate or describe the content mean nothing after it, and a
    /// sender must not put them in a trailer section.
    var isForbiddenInTrailers: Bool {
        Self.forbiddenTrailers.contains { equalIgnoringCase($0, name) }
    }

    private static let forbiddenTrailers = [
        "Authorization", "Connection", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Cookie",
        "Expect", "Host", "Keep-Alive", "Proxy-Authorization", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
    ]
}
