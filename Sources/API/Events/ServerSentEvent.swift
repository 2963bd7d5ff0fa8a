/// Writes events of an event stream: the WHATWG HTML standard, "Server-sent events". Lines end in LF.
enum ServerSentEvent {
    /// The longest line that is sent, without its line end: Go's bufio.Scanner fails at 64 KiB.
    static let lineBytesLimit = 60 * 1024

    /// The last event of the log of a service that was deleted.
    static let removed = encode(event: "end", data: Array(#"{"reason":"the service was deleted"}"#.utf8))

    /// The keep-alive comment.
    static let comment = Array(": nothing new\n\n".utf8)

    /// An event with JSON data, which has no line ends.
    static func encode(event: String? = nil, id: String? = nil, data: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(data.count + 200)
        if let event { bytes += "event: \(event)\n".utf8 }
        if let id { bytes += "id: \(id)\n".utf8 }
        bytes += "data: ".utf8
        appendEscapingLineSeparators(data, to: &bytes)
        bytes += "\n\n".utf8
        return bytes
    }

    /// Some clients (Python's splitlines) treat U+0085, U+2028 and U+2029 as line ends. In JSON these occur only in
    /// strings, where they can be escaped.
    static func appendEscapingLineSeparators(_ json: [UInt8], to bytes: inout [UInt8]) {
        guard json.contains(where: { $0 == 0xc2 || $0 == 0xe2 }) else {
            bytes += json
            return
        }
        var index = 0
        while index < json.count {
            switch (json[index], json.dropFirst(index + 1).first, json.dropFirst(index + 2).first) {
            case (0xc2, 0x85, _):
                bytes += "\\u0085".utf8
                index += 2
            case (0xe2, 0x80, 0xa8):
                bytes += "\\u2028".utf8
                index += 3
            case (0xe2, 0x80, 0xa9):
                bytes += "\\u2029".utf8
                index += 3
            default:
                bytes.append(json[index])
                index += 1
            }
        }
    }
}
