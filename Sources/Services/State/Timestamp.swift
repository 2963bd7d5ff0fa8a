/// A moment in microseconds since 1970-01-01 UTC, as systemd counts.
public struct Timestamp: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let microseconds: Int64

    public init(microseconds: Int64) { self.microseconds = microseconds }

    /// A timestamp of systemd; nil for zero, which means never.
    public init?(systemd microseconds: UInt64) {
        guard microseconds > 0, microseconds < UInt64(Int64.max) else { return nil }
        self.microseconds = Int64(microseconds)
    }

    /// RFC 3339 in UTC with milliseconds: "2026-11-21T22:52:00.123Z".
    public var description: String {
        let milliseconds = microseconds.quotient(floorDividedBy: 1000)
        let seconds = milliseconds.quotient(floorDividedBy: 1000)
        let day = seconds.quotient(floorDividedBy: 86_400)
        let second = Int(seconds - day * 86_400)
        let (year, month, dayOfMonth) = Self.civil(day: Int(day))
        var text: [UInt8] = []
        text.reserveCapacity(24)
        for (value, width, mark) in [
            (year, 4, "-"), (month, 2, "-"), (dayOfMonth, 2, "T"), (second / 3600, 2, ":"), (second / 60 % 60, 2, ":"),
            (second % 60, 2, "."), (Int(milliseconds - seconds * 1000), 3, "Z"),
        ] {
            Self.append(value, width, to: &text)
            text += mark.utf8
        }
        return String(decoding: text, as: UTF8.self)
    }

    public static func < (left: Timestamp, right: Timestamp) -> Bool { left.microseconds < right.microseconds }

    /// The proleptic Gregorian date of a day counted from 1970-01-01. The year is taken to start in March, so that
    /// the leap day is its last.
    private static func civil(day: Int) -> (year: Int, month: Int, day: Int) {
        let sinceEra = day + 719_468
        let era = sinceEra.quotient(floorDividedBy: 146_097)
        let dayOfEra = sinceEra - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }

    /// Appends a decimal number, padded with zeros to at least `width` digits.
    private static func append(_ value: Int, _ width: Int, to text: inout [UInt8]) {
        guard value >= 0 else {
            text.append(UInt8(ascii: "-"))
            return append(-value, width - 1, to: &text)
        }
        if width > 1 || value >= 10 { append(value / 10, width - 1, to: &text) }
        text.append(UInt8(ascii: "0") + UInt8(value % 10))
    }
}

extension BinaryInteger {
    fileprivate func quotient(floorDividedBy divisor: Self) -> Self {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}
