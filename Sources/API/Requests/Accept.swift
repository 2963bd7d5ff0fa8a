internal import HTTP

/// What media types a client wants: RFC 9110 §12.5.1.
struct Accept {
    private struct Range {
        let type: String
        let quality: Int
    }

    private let ranges: [Range]

    init(_ fields: Fields) {
        guard let text = fields["Accept"] else {
            ranges = []
            return
        }
        // What the clients of the API send needs no taking apart.
        guard text != "*/*", text != MediaType.json else {
            ranges = [Range(type: text, quality: 1000)]
            return
        }
        ranges = text.split(separator: ",").map { element in
            let parts = element.split(separator: ";").map { $0.filter { $0 != " " && $0 != "\t" }.lowercased() }
            let weight = parts.dropFirst().first { $0.hasPrefix("q=") }
            return Range(type: parts.first ?? "", quality: Self.thousandths(weight?.dropFirst(2) ?? "1"))
        }
    }

    /// The offer that the client likes best; of equals, and where it names none of them, the first. Nobody is refused:
    /// RFC 9110 lets a server send what it has.
    func best(of offers: [String]) -> String {
        var best = offers[0]
        // Who takes anything, or asks for what comes first, gets that.
        guard let first = ranges.first, ranges.count > 1 || first.type != "*/*" && first.type != best
        else { return best }
        var bestQuality = quality(of: best)
        for offer in offers.dropFirst() {
            let quality = quality(of: offer)
            if quality > bestQuality { (best, bestQuality) = (offer, quality) }
        }
        return best
    }

    /// The weight of the most specific range that a type is in; 0 for one in none.
    private func quality(of type: String) -> Int {
        let group = type.prefix { $0 != "/" } + "/*"
        for wanted in [type, String(group), "*/*"] {
            if let range = ranges.first(where: { $0.type == wanted }) { return range.quality }
        }
        return 0
    }

    /// A weight such as "0.85"; 0 for what is none.
    private static func thousandths(_ text: Substring) -> Int {
        let digits = text.utf8.filter { $0 != UInt8(ascii: ".") }
        guard digits.count <= 4, digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return 0 }
        let value = Int(String(decoding: digits, as: UTF8.self)) ?? 0
        return value * [1, 1000, 100, 10, 1][digits.count]
    }
}

/// The media types that the API has.
enum MediaType {
    static let json = "application/json"
    static let lines = "application/x-ndjson"
    static let eventStream = "text/event-stream"
    static let text = "text/plain"
}
