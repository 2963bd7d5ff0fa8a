/// `method SP request-target SP HTTP-version`. RFC 9112 §3.
struct RequestLine {
    let method: Method
    let target: RequestTarget
    let version: HTTPVersion

    /// Parses a line without its line end. Exactly one space separates the parts: RFC 9112 §3 allows leniency there
    /// and warns of it.
    init(parsing line: ArraySlice<UInt8>) throws(ParseFailure) {
        let parts = line.split(separator: .space, omittingEmptySubsequences: false)
        guard parts.count == 3, !parts[1].isEmpty else {
            throw .badRequest("the request line is not a method, a target and a version, one space apart")
        }
        guard let method = Method(rawValue: String(decoding: parts[0], as: UTF8.self)) else {
            throw .badRequest("the method is not a token")
        }
        self.method = method
        // The version is checked first: the HTTP/2 preface "PRI * HTTP/2.0" gets a 505.
        version = try Self.parseVersion(parts[2])
        target = try RequestTarget(parsing: parts[1], method: method)
    }

    /// RFC 9112 §2.3: `HTTP/` in capitals, a digit, a dot, a digit.
    private static func parseVersion(_ text: ArraySlice<UInt8>) throws(ParseFailure) -> HTTPVersion {
        let digits = Array(text.dropFirst("HTTP/".utf8.count))
        guard text.starts(with: "HTTP/".utf8), digits.count == 3, digits[0].isDigit, digits[1] == UInt8(ascii: "."),
            digits[2].isDigit
        else {
            throw .badRequest("the protocol version is invalid")
        }
        guard digits[0] == UInt8(ascii: "1") else {
            throw ParseFailure(status: .httpVersionNotSupported, reason: "only HTTP/1.0 and HTTP/1.1 are supported")
        }
        return digits[2] == UInt8(ascii: "0") ? .http10 : .http11
    }
}
