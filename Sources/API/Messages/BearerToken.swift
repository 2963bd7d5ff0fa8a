/// The secret that TCP clients send as `Authorization: Bearer TOKEN` (RFC 6750 §2.1).
public struct BearerToken: Sendable {
    private let bytes: [UInt8]

    /// The shortest token that is accepted, in bytes; it should be random.
    public static let shortestBytes = 16
    /// The longest token that fits into a header.
    public static let bytesLimit = 4096

    /// Nil when the text cannot be one: RFC 6750 allows letters, digits and `-._~+/`, with `=` at the end.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard (Self.shortestBytes...Self.bytesLimit).contains(bytes.count), bytes.allSatisfy(Self.isTokenByte) else {
            return nil
        }
        self.bytes = bytes
    }

    /// The scheme, whose name is case-insensitive, and the space behind it: RFC 9110 §11.4.
    private static let scheme = Array("bearer ".utf8)

    /// Whether an Authorization field carries this token. Takes the same time wherever the first difference is.
    func matches(_ authorization: String?) -> Bool {
        guard let authorization else { return false }
        let given = authorization.utf8Span.span
        let scheme = Self.scheme
        guard given.count > scheme.count else { return false }
        // Setting bit 0x20 converts upper to lower case; no other byte becomes a letter of the scheme by it.
        for index in scheme.indices where given[index] | 0x20 != scheme[index] { return false }
        let count = given.count - scheme.count
        var difference = count ^ bytes.count
        for index in bytes.indices {
            difference |= Int(bytes[index] ^ (index < count ? given[scheme.count + index] : 0))
        }
        return difference == 0
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "-._~+/=".utf8.contains(byte)
        }
    }
}
