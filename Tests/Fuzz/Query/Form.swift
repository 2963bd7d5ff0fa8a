/// Queries as HTML forms write them: the URL Standard, application/x-www-form-urlencoded. Nothing of it is shared with
/// the parser.
enum Form {
    struct Pair: Equatable {
        let name: [UInt8]
        let value: [UInt8]
    }

    /// Every byte as a percent-encoding, in capitals where its number is odd.
    static func encode(_ text: String) -> String {
        text.utf8.map { byte in
            let digits = (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: byte % 2 == 1)
            return byte == 0x20 ? "+" : "%" + digits
        }.joined()
    }

    /// The pairs of a query; nil where a byte may not stand in one, or does not mean text without NUL.
    static func decode(_ query: [UInt8]) -> [Pair]? {
        var pairs: [Pair] = []
        for piece in query.split(separator: UInt8(ascii: "&")) {
            let parts = piece.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = text(parts[0]), let value = text(parts.count == 2 ? parts[1] : []) else { return nil }
            pairs.append(Pair(name: name, value: value))
        }
        return pairs
    }

    private static func text(_ encoded: ArraySlice<UInt8>) -> [UInt8]? {
        var bytes: [UInt8] = []
        var rest = encoded
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "+"): bytes.append(0x20)
            case UInt8(ascii: "%"):
                guard rest.count >= 2, rest.prefix(2).allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
                    let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16), value != 0
                else { return nil }
                bytes.append(value)
                rest = rest.dropFirst(2)
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: bytes.append(byte)
            case _ where "-._~!$'()*,;=:@/?".utf8.contains(byte): bytes.append(byte)
            default: return nil
            }
        }
        return String(validating: bytes, as: UTF8.self) == nil ? nil : bytes
    }
}
