internal import Services

/// Writes Prometheus' text exposition format, version 0.0.4.
///
/// All samples of a family are written together, below one HELP and one TYPE line; a family without any is left out.
struct MetricsText {
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    enum Kind: String {
        case counter
        case gauge
        case histogram
    }

    /// A label's name and value; in the order in which they are written.
    typealias Labels = KeyValuePairs<String, String>

    private(set) var bytes: [UInt8] = []

    /// Writes a family, whose samples `body` writes.
    mutating func family(_ name: String, _ kind: Kind, _ help: String, _ body: (inout Family) -> Void) {
        var family = Family(name: name)
        body(&family)
        guard !family.bytes.isEmpty else { return }
        bytes += "# HELP \(name) \(Self.escaped(help, quote: false))\n# TYPE \(name) \(kind.rawValue)\n".utf8
        bytes += family.bytes
    }

    /// The samples of a family.
    struct Family {
        private let name: String
        fileprivate var bytes: [UInt8] = []

        fileprivate init(name: String) { self.name = name }

        /// Writes a sample; none where there is no value.
        mutating func sample(_ labels: Labels, _ value: Int?) {
            if let value { write("", labels, nil, String(value)) }
        }

        mutating func sample(_ labels: Labels, _ value: Double?) {
            if let value { write("", labels, nil, MetricsText.number(value)) }
        }

        /// In seconds, Prometheus' unit of time.
        mutating func sample(_ labels: Labels, _ value: Duration?) {
            sample(labels, value.map { $0 / .seconds(1) })
        }

        /// Writes the samples of a histogram: its buckets, which include the smaller ones, its sum and its count.
        mutating func histogram(_ labels: Labels, _ histogram: DurationHistogram) {
            let counts = histogram.cumulativeCounts
            for (bound, count) in zip(DurationHistogram.bounds, counts) {
                write("_bucket", labels, MetricsText.number(bound / .seconds(1)), String(count))
            }
            let total = String(counts[counts.count - 1])
            write("_bucket", labels, MetricsText.number(.infinity), total)
            write("_sum", labels, nil, MetricsText.number(histogram.sum / .seconds(1)))
            write("_count", labels, nil, total)
        }

        private mutating func write(_ suffix: String, _ labels: Labels, _ bound: String?, _ value: String) {
            bytes += name.utf8
            bytes += suffix.utf8
            var separator = UInt8(ascii: "{")
            for (name, value) in labels { write(name, value, &separator) }
            if let bound { write("le", bound, &separator) }
            if separator == UInt8(ascii: ",") { bytes.append(UInt8(ascii: "}")) }
            bytes.append(UInt8(ascii: " "))
            bytes += value.utf8
            bytes.append(UInt8(ascii: "\n"))
        }

        private mutating func write(_ label: String, _ value: String, _ separator: inout UInt8) {
            bytes.append(separator)
            separator = UInt8(ascii: ",")
            bytes += label.utf8
            bytes += "=\"".utf8
            bytes += MetricsText.escaped(value, quote: true).utf8
            bytes.append(UInt8(ascii: "\""))
        }
    }

    /// A number as Go's strconv.ParseFloat reads it.
    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        guard value.isFinite else { return value < 0 ? "-Inf" : "+Inf" }
        let text = value.description
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }

    /// Text as it stands in a HELP line or, between quotes, in a label's value.
    static func escaped(_ text: String, quote: Bool) -> String {
        guard text.utf8.contains(where: { [0x0a, 0x22, 0x5c].contains($0) }) else { return text }
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quote: escaped += "\\\""
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
