internal import HTTP

/// The media types that a client accepts: RFC 9110 §12.5.1.
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
        // Fast path: the values that the client libraries send.
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

    /// The offer with the highest quality; the first one of equals, and the first one when none is acceptable. There is
    /// no 406: RFC 9110 §12.4.1 lets a server send another type.
    func best(of offers: [String]) -> String {
        var best = offers[0]
        // Fast path: a client that accepts anything, or only the first offer.
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
