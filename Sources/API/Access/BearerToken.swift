/// The secret of an identity, which clients send as `Authorization: Bearer TOKEN` (RFC 6750 §2.1): the token itself or
/// its SHA-256 digest.
public struct BearerToken: Equatable, Sendable {
    private enum Secret: Equatable, Sendable {
        case text([UInt8])
        case digest([UInt8])
    }

    private let secret: Secret

    /// The shortest and the longest token, in bytes; it should be random.
    public static let bytes = 32...256
    /// The same for the credential `miosa.token`, as in version 0.1.0.
    public static let credentialBytes = 16...4096
    /// What precedes the digest in hexadecimal.
    private static let digestPrefix = "sha256:"
    private static let digestBytes = 32

    /// A token or `sha256:HEX`. Nil when the text is neither: a token is visible ASCII and its length is in `bytes`.
    public init?(_ text: String, bytes: ClosedRange<Int> = Self.bytes) {
        if text.hasPrefix(Self.digestPrefix) {
            guard let digest = Self.digest(text.utf8.dropFirst(Self.digestPrefix.utf8.count)) else { return nil }
            secret = .digest(digest)
            return
        }
        let token = Array(text.utf8)
        guard bytes.contains(token.count), token.allSatisfy({ (0x21...0x7e).contains($0) }) else { return nil }
        secret = .text(token)
    }

    /// Whether a client has sent this token. Takes the same time wherever the first difference is.
    func matches(_ presented: PresentedToken, _ sha256: @Sendable ([UInt8]) -> [UInt8]) -> Bool {
        switch secret {
        case .text(let bytes): Self.areEqual(bytes, presented.bytes)
        case .digest(let digest): Self.areEqual(digest, sha256(presented.bytes))
        }
    }

    /// The digest of the token.
    func digest(_ sha256: @Sendable ([UInt8]) -> [UInt8]) -> [UInt8] {
        switch secret {
        case .text(let bytes): sha256(bytes)
        case .digest(let digest): digest
        }
    }

    private static func areEqual(_ secret: [UInt8], _ given: [UInt8]) -> Bool {
        var difference = secret.count ^ given.count
        for index in secret.indices { difference |= Int(secret[index] ^ (index < given.count ? given[index] : 0)) }
        return difference == 0
    }

    private static func digest(_ hexadecimal: Substring.UTF8View.SubSequence) -> [UInt8]? {
        let digits = hexadecimal.map { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == 2 * digestBytes else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = digits[index], let low = digits[index + 1] else { return nil }
            bytes.append(UInt8(high << 4 | low))
        }
        return bytes
    }
}

/// The token in an Authorization field.
struct PresentedToken {
    let bytes: [UInt8]

    /// The scheme, whose name is case-insensitive, and the space behind it: RFC 9110 §11.4.
    private static let scheme = Array("bearer ".utf8)

    /// Nil without the field, and for another scheme.
    init?(_ authorization: String?) {
        guard let authorization else { return nil }
        let given = authorization.utf8
        let scheme = Self.scheme
        guard given.count > scheme.count else { return nil }
        // Setting bit 0x20 converts upper to lower case; no other byte becomes a letter of the scheme by it.
        for (byte, letter) in zip(given, scheme) where byte | 0x20 != letter { return nil }
        bytes = Array(given.dropFirst(scheme.count))
    }
}
