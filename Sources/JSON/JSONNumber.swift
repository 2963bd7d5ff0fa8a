/// A number as JSON text, without loss of precision. Equal when the texts are equal.
public struct JSONNumber: Hashable, Sendable {
    /// The source text.
    public let text: String

    /// A number that is an integer, written without fraction and exponent.
    public init(_ integer: Int) {
        text = String(integer)
    }

    /// Precondition: `text` follows the grammar of RFC 8259 §6.
    init(validated text: String) {
        self.text = text
    }

    /// A number with at most two decimals.
    public init(hundredths: Int) {
        let (whole, rest) = hundredths.magnitude.quotientAndRemainder(dividingBy: 100)
        let decimals = rest == 0 ? "" : rest % 10 == 0 ? ".\(rest / 10)" : rest < 10 ? ".0\(rest)" : ".\(rest)"
        text = (hundredths < 0 ? "-" : "") + "\(whole)\(decimals)"
    }

    /// The value if it is an integer in JSON Schema's sense and fits into Int: `2352`, `2352.0`, `1e3`. Nil otherwise.
    public var integer: Int? { integer(timesTenTo: 0) }

    /// A hundred times the value, if that is an integer and fits into Int: 150 for `1.5`. Nil otherwise.
    public var hundredths: Int? { integer(timesTenTo: 2) }

    private func integer(timesTenTo power: Int) -> Int? {
        let parts = decimalParts()
        guard !parts.digits.isEmpty else { return 0 }
        // A number without trailing zeros has a fraction exactly when its exponent is negative. An exponent is far from
        // the limits of Int.
        let zeros = parts.exponent + power
        guard zeros >= 0, zeros <= 19, parts.digits.count + zeros <= 19 else { return nil }
        var value = 0
        for digit in parts.digits + repeatElement(0, count: zeros) {
            // Negative numbers are summed as negative: Int.min has no positive counterpart.
            let (shifted, isTooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, isOutOfRange) = shifted.addingReportingOverflow(parts.isNegative ? -digit : digit)
            guard !isTooLarge, !isOutOfRange else { return nil }
            value = sum
        }
        return value
    }

    /// The significant digits without zeros at either end, and the power of ten to multiply them by.
    private func decimalParts() -> (isNegative: Bool, digits: [Int], exponent: Int) {
        let mantissaEnd = text.utf8.firstIndex { $0 | 0x20 == UInt8(ascii: "e") } ?? text.utf8.endIndex
        var digits: [Int] = []
        var exponent = 0
        var isFraction = false
        for byte in text.utf8[..<mantissaEnd] {
            if byte == UInt8(ascii: ".") {
                isFraction = true
            } else if byte != UInt8(ascii: "-") {
                if !digits.isEmpty || byte != UInt8(ascii: "0") {
                    digits.append(Int(byte - UInt8(ascii: "0")))
                }
                exponent -= isFraction ? 1 : 0
            }
        }
        while digits.last == 0 {
            digits.removeLast()
            exponent += 1
        }
        let written = text.utf8[mantissaEnd...].dropFirst()
        // An exponent that does not fit Int is treated as infinite; half of Int.max keeps the sum from overflowing.
        let largest = Int.max / 2
        let power = Int(Substring(written)) ?? (written.first == UInt8(ascii: "-") ? -largest : largest)
        exponent += written.isEmpty ? 0 : max(-largest, min(largest, power))
        return (text.utf8.first == UInt8(ascii: "-"), digits, exponent)
    }
}

extension JSONNumber: CustomStringConvertible {
    public var description: String { text }
}
