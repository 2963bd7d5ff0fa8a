/// Text for a terminal: output of a program must not act as control sequences.
enum PlainText {
    /// Rows of cells as lines. Each column but the last is as wide as its longest cell.
    static func table(_ rows: [[String]]) -> String {
        let widths = rows[0].indices.dropLast().map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
            return (cells + [row[widths.count]]).joined(separator: "  ") + "\n"
        }.joined()
    }

    /// The text on one line, without colours, and with control characters other than the tab as `\xHH`.
    static func printable(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isControl) else { return text }
        var result = String.UnicodeScalarView()
        var rest = text.unicodeScalars[...]
        while let scalar = rest.first {
            if let behind = endOfColour(rest) {
                rest = rest[behind...]
                continue
            }
            rest = rest.dropFirst()
            guard isControl(scalar) else {
                result.append(scalar)
                continue
            }
            let digits = String(scalar.value, radix: 16)
            result.append(contentsOf: (scalar.value < 0x10 ? "\\x0" : "\\x").unicodeScalars)
            result.append(contentsOf: digits.unicodeScalars)
        }
        return String(result)
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 && scalar != "\t" || (0x7f...0x9f).contains(scalar.value)
    }

    /// The end of the colour sequence at the beginning of a text: ESC, "[", digits and semicolons, "m" (ECMA-48, SGR).
    private static func endOfColour(_ text: Substring.UnicodeScalarView) -> Substring.UnicodeScalarView.Index? {
        guard text.first == "\u{1B}", text.dropFirst().first == "[" else { return nil }
        let rest = text.dropFirst(2).drop { ("0"..."9").contains($0) || $0 == ";" }
        return rest.first == "m" ? rest.index(after: rest.startIndex) : nil
    }
}
