/// What a request is for: the path as decoded segments, and the query. RFC 9112 §3.2.
///
/// Nothing is normalised. A path is split before it is decoded, so an encoded slash cannot make a segment; whatever
/// two readers could take for two different paths is refused with 400: `.` and `..` segments, empty segments other
/// than a last one, encoded slashes, control characters, and bytes that are not UTF-8.
public struct RequestTarget: Hashable, Sendable {
    /// The target as received.
    public let raw: String
    /// The path, decoded, for logs; `*` for the asterisk-form, and for the absolute-form that says the same.
    public let path: String
    /// The decoded segments of the path. The last one is empty when the path ends in a slash, so that `/v1/services/`
    /// is another path than `/v1/services`; `/` is one empty segment; the asterisk-form has none.
    public let segments: [String]
    public let query: Query
    /// `host[:port]` of an absolute-form target, nil otherwise. RFC 9112 §3.2.2: it replaces the Host field.
    public let authority: String?

    /// Parses a target in origin-form, absolute-form (`http` only), or, with OPTIONS, asterisk-form.
    public init(parsing raw: String, method: Method) throws(ParseFailure) {
        try self.init(parsing: Array(raw.utf8)[...], method: method)
    }

    init(parsing raw: ArraySlice<UInt8>, method: Method) throws(ParseFailure) {
        // RFC 9110 §9.1: a method that is not implemented. CONNECT alone has an authority-form target.
        guard method != .connect else {
            throw ParseFailure(status: .notImplemented, reason: "CONNECT is not implemented")
        }
        guard !raw.contains(UInt8(ascii: "#")) else {
            throw .badRequest("the request target contains a fragment")
        }
        guard let text = String(validating: raw, as: UTF8.self), raw.allSatisfy({ $0 < 0x80 }) else {
            throw .badRequest("the request target contains a character that must be percent-encoded")
        }
        self.raw = text

        if raw.elementsEqual([UInt8(ascii: "*")]) {
            guard method == .options else {
                throw .badRequest("the request target '*' is for OPTIONS only")
            }
            path = text
            segments = []
            query = Query()
            authority = nil
            return
        }

        var rest = raw
        if raw.first == UInt8(ascii: "/") {
            authority = nil
        } else {
            authority = try Self.takeAuthority(from: &rest)
        }
        // RFC 9110 §4.2.3, RFC 9112 §3.2.4: with OPTIONS an empty path is not "/" but the server as a whole.
        if rest.isEmpty, method == .options {
            path = "*"
            segments = []
            query = Query()
            return
        }

        let queryMark = rest.firstIndex(of: UInt8(ascii: "?"))
        segments = try Self.parseSegments(rest[..<(queryMark ?? rest.endIndex)])
        path = "/" + segments.joined(separator: "/")
        query = if let queryMark { try Query(parsing: rest[(queryMark + 1)...]) } else { Query() }
    }

    /// Removes scheme and authority of an absolute-form target and returns the authority.
    private static func takeAuthority(from rest: inout ArraySlice<UInt8>) throws(ParseFailure) -> String {
        if hasScheme("https://", rest) {
            // RFC 9110 §7.4: https must be refused on a connection that is not secured by a certificate.
            throw ParseFailure(status: .misdirectedRequest, reason: "https is not served on this connection")
        }
        guard hasScheme("http://", rest) else {
            throw .badRequest("the request target is neither a path nor an http URI")
        }
        rest = rest.dropFirst("http://".utf8.count)
        let end =
            rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? rest.endIndex
        // User information has no place in a target either: RFC 9110 §4.2.4.
        guard Host.isValid(rest[..<end]) else {
            throw .badRequest("the authority of the request target is invalid")
        }
        let authority = String(decoding: rest[..<end], as: UTF8.self)
        rest = rest[end...]
        return authority
    }

    private static func hasScheme(_ scheme: String, _ target: ArraySlice<UInt8>) -> Bool {
        target.count >= scheme.utf8.count && zip(target, scheme.utf8).allSatisfy { $0.lowercased == $1 }
    }

    private static func parseSegments(_ path: ArraySlice<UInt8>) throws(ParseFailure) -> [String] {
        // RFC 9110 §4.2.3: an empty path, which only the absolute-form can have, equals "/".
        guard !path.isEmpty else { return [""] }
        let pieces = path.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        var segments: [String] = []
        segments.reserveCapacity(pieces.count)
        for (index, piece) in pieces.enumerated() {
            guard !piece.isEmpty || index == pieces.count - 1 else {
                throw .badRequest("the path contains an empty segment")
            }
            segments.append(try parseSegment(piece))
        }
        return segments
    }

    private static func parseSegment(_ piece: ArraySlice<UInt8>) throws(ParseFailure) -> String {
        guard piece.allSatisfy(\.isSegmentCharacter) else {
            throw .badRequest("the path contains a character that must be percent-encoded")
        }
        let segment = try PercentEncoding.decode(piece, plusIsSpace: false)
        for scalar in segment.unicodeScalars {
            guard scalar != "/" else { throw .badRequest("the path contains an encoded slash") }
            // C0, DEL and C1: none belongs in a name, each can forge a log line or drive a terminal.
            guard !(scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)) else {
                throw .badRequest("the path contains an encoded control character")
            }
        }
        guard segment != ".", segment != ".." else {
            throw .badRequest("the path contains a dot segment")
        }
        return segment
    }
}
