/// How the end of a request's body is found. RFC 9112 §6.3.
public enum BodyFraming: Hashable, Sendable {
    /// No body.
    case none
    /// As many bytes as Content-Length says, which may be 0.
    case length(Int)
    /// The chunked transfer coding.
    case chunked

    /// Refuses every message whose end two recipients could see at different places.
    init(version: HTTPVersion, fields: Fields, limits: Limits) throws(ParseFailure) {
        let lengths = fields.values(of: "Content-Length")
        let codings = fields.values(of: "Transfer-Encoding")
        guard codings.isEmpty else {
            // RFC 9112 §6.1: faulty framing in HTTP/1.0, whether or not there is a length too.
            guard version == .http11 else {
                throw .badRequest("Transfer-Encoding is not part of HTTP/1.0")
            }
            guard lengths.isEmpty else {
                throw .badRequest("both Content-Length and Transfer-Encoding are present")
            }
            try Self.checkCodings(codings.joined(separator: ","))
            self = .chunked
            return
        }
        guard let length = lengths.first else {
            self = .none
            return
        }
        // RFC 9112 §6.3 would allow equal values; no client has a reason to send them.
        guard lengths.count == 1 else {
            throw .badRequest("Content-Length is repeated")
        }
        self = .length(try Self.parseLength(length, limits: limits))
    }

    /// Returns when the only coding is chunked.
    private static func checkCodings(_ list: String) throws(ParseFailure) {
        let codings = list.utf8.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        var isChunked = false
        var hasUnknown = false
        for coding in codings {
            let name = String(trimmingWhitespace(Substring(coding)))
            // Parameters are refused with the rest: RFC 9112 §7.1 defines none for chunked.
            guard !name.isEmpty, name.utf8.allSatisfy(\.isTokenCharacter) else {
                throw .badRequest("Transfer-Encoding is not a list of codings")
            }
            // RFC 9112 §6.1: never twice.
            guard !isChunked else {
                throw .badRequest("chunked is repeated or not the last transfer coding")
            }
            if equalIgnoringCase(name, "chunked") {
                isChunked = true
            } else {
                hasUnknown = true
            }
        }
        // RFC 9112 §6.3: without chunked as the last coding the length is unknown, whatever the others are.
        guard isChunked else { throw .badRequest("chunked is not the last transfer coding") }
        // RFC 9112 §6.1: 501 for a transfer coding that is not understood.
        guard !hasUnknown else {
            throw ParseFailure(status: .notImplemented, reason: "the transfer coding is not supported")
        }
    }

    /// RFC 9110 §8.6: `1*DIGIT` and nothing else.
    private static func parseLength(_ value: String, limits: Limits) throws(ParseFailure) -> Int {
        guard !value.isEmpty, value.utf8.allSatisfy(\.isDigit) else {
            throw .badRequest("Content-Length is not a number")
        }
        guard let length = Int(value) else {
            throw .badRequest("Content-Length is out of range")
        }
        guard length <= limits.bodyBytesLimit else {
            throw ParseFailure(
                status: .contentTooLarge,
                reason: "the body is larger than \(limits.bodyBytesLimit) bytes",
            )
        }
        return length
    }
}
