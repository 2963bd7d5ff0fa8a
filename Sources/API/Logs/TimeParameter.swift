internal import HTTP
internal import Services

/// A time in a query parameter.
enum TimeParameter {
    /// The time in a query parameter; nil without it. Throws a 400.
    static func moment(_ name: String, _ parameters: Query, _ now: Timestamp) throws(Failure) -> Timestamp? {
        guard let text = parameters.first(name) else { return nil }
        guard let moment = parse(text, now: now) else {
            throw .badRequest(
                "the query parameter '\(name)' must be a time like 2026-01-31T12:00:00Z, seconds since 1970, or an age"
                    + " like 1h30m"
            )
        }
        return moment
    }

    /// "2026-11-21T22:52:00.5Z" or with an offset (RFC 3339), "1763765520.5" (seconds since 1970), or "1h30m" for that
    /// long ago; nil for anything else.
    static func parse(_ text: String, now: Timestamp) -> Timestamp? {
        timestamp(text) ?? seconds(text)
            ?? age(text).flatMap { age in
                age <= now.microseconds ? Timestamp(microseconds: now.microseconds - age) : nil
            }
    }

    private static func seconds(_ text: String) -> Timestamp? {
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = number(parts[0], digits: 1...12) else { return nil }
        guard let fraction = parts.count == 1 ? 0 : microseconds(parts[1]) else { return nil }
        return Timestamp(microseconds: Int64(whole) * 1_000_000 + Int64(fraction))
    }

    /// Microseconds of a duration such as "90s" or "1h30m".
    private static func age(_ text: String) -> Int64? {
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800]
        var rest = text[...]
        var seconds: Int64 = 0
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            guard let count = number(digits, digits: 1...9) else { return nil }
            rest = rest[digits.endIndex...]
            guard let unit = rest.popFirst().flatMap({ units[$0] }) else { return nil }
            seconds += Int64(count) * unit
            // Keeps the product below from overflowing.
            guard seconds <= Int64.max / 1_000_000 else { return nil }
        }
        return seconds * 1_000_000
    }

    /// RFC 3339 §5.6.
    private static func timestamp(_ text: String) -> Timestamp? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"),
            "Tt ".utf8.contains(bytes[10]), bytes[13] == UInt8(ascii: ":"), bytes[16] == UInt8(ascii: ":")
        else { return nil }
        func field(_ range: Range<Int>) -> Int? {
            number(Substring(decoding: bytes[range], as: UTF8.self), digits: range.count...range.count)
        }
        guard let year = field(0..<4), let month = field(5..<7), let day = field(8..<10), let hour = field(11..<13),
            let minute = field(14..<16), let second = field(17..<19), (1...12).contains(month),
            (1...daysIn(month, year)).contains(day), hour < 24, minute < 60, second <= 60
        else { return nil }
        var rest = Substring(decoding: bytes[19...], as: UTF8.self)
        var fraction = 0
        if rest.first == "." {
            let digits = rest.dropFirst().prefix { $0.isASCII && $0.isNumber }
            guard let value = microseconds(digits) else { return nil }
            fraction = value
            rest = rest[digits.endIndex...]
        }
        guard let offset = offset(rest) else { return nil }
        let seconds = daysSince1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset
        return Timestamp(microseconds: Int64(seconds) * 1_000_000 + Int64(fraction))
    }

    /// Seconds east of UTC: "Z", "+01:00".
    private static func offset(_ text: Substring) -> Int? {
        if text == "Z" || text == "z" { return 0 }
        let bytes = Array(text.utf8)
        guard bytes.count == 6, "+-".utf8.contains(bytes[0]), bytes[3] == UInt8(ascii: ":"),
            let hours = number(text.dropFirst().prefix(2), digits: 2...2),
            let minutes = number(text.suffix(2), digits: 2...2), hours < 24, minutes < 60
        else { return nil }
        return (hours * 3600 + minutes * 60) * (bytes[0] == UInt8(ascii: "-") ? -1 : 1)
    }

    private static func daysIn(_ month: Int, _ year: Int) -> Int {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// In the proleptic Gregorian calendar, with years that start in March. 400 years are added, so that no year is
    /// negative.
    private static func daysSince1970(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let years = (month <= 2 ? year - 1 : year) + 400
        let era = years / 400
        let yearOfEra = years - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 865_565
    }

    /// The digits after a decimal point; digits beyond microseconds are dropped.
    private static func microseconds(_ digits: Substring) -> Int? {
        guard number(digits, digits: 1...9) != nil else { return nil }
        return Int(digits.prefix(6) + String(repeating: "0", count: max(0, 6 - digits.utf8.count)))
    }

    private static func number(_ text: Substring, digits: ClosedRange<Int>) -> Int? {
        guard digits.contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int(text)
    }
}
