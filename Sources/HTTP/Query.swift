/// The name and value pairs of a request target's query, decoded, in the order they were sent.
public struct Query: Hashable, Sendable {
    private struct Pair: Hashable, Sendable {
        var name: String
        var value: String
    }

    private var pairs: [Pair] = []

    /// No pairs at all.
    public init() {}

    /// Splits at `&`, then each piece at its first `=`; a piece without one has an empty value, an empty piece is
    /// skipped. Percent-encodings are decoded and a plus sign is a space. Invalid percent-encoding, NUL, and what is
    /// not UTF-8 once decoded are refused with 400.
    public init(parsing raw: String) throws(ParseFailure) {
        try self.init(parsing: Array(raw.utf8)[...])
    }

    init(parsing raw: ArraySlice<UInt8>) throws(ParseFailure) {
        guard raw.allSatisfy(\.isQueryCharacter) else {
            throw .badRequest("the query contains a character that must be percent-encoded")
        }
        for piece in raw.split(separator: UInt8(ascii: "&")) {
            let equals = piece.firstIndex(of: UInt8(ascii: "=")) ?? piece.endIndex
            pairs.append(
                Pair(
                    name: try PercentEncoding.decode(piece[..<equals], plusIsSpace: true),
                    value: try PercentEncoding.decode(piece[equals...].dropFirst(), plusIsSpace: true),
                )
            )
        }
    }

    /// The value of the first pair of that name; names are case-sensitive.
    public func first(_ name: String) -> String? {
        pairs.first { $0.name == name }?.value
    }

    /// The values of all pairs of that name, in order.
    public func values(of name: String) -> [String] {
        pairs.filter { $0.name == name }.map(\.value)
    }
}

extension Query: RandomAccessCollection {
    public var startIndex: Int { 0 }
    public var endIndex: Int { pairs.count }

    public subscript(position: Int) -> (name: String, value: String) {
        (pairs[position].name, pairs[position].value)
    }
}
