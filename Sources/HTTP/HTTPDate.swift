/// Dates as HTTP writes them.
public enum HTTPDate {
    private static let dayNames = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let monthNames = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// An IMF-fixdate (RFC 9110 §5.6.7), such as "Sun, 06 Nov 1994 08:49:37 GMT".
    ///
    /// Precondition: the year has four digits, 0000 to 9999.
    public static func format(secondsSinceEpoch: Int) -> String {
        let secondsPerDay = 86_400
        let day = floorDivide(secondsSinceEpoch, secondsPerDay)
        let second = secondsSinceEpoch - day * secondsPerDay
        let date = civilDate(daysSinceEpoch: day)
        precondition((0...9999).contains(date.year), "an IMF-fixdate has a year of four digits")
        // 1 January 1970 was a Thursday.
        let dayName = dayNames[day - floorDivide(day, 7) * 7]
        let time = "\(padded(second / 3600, 2)):\(padded(second / 60 % 60, 2)):\(padded(second % 60, 2))"
        return "\(dayName), \(padded(date.day, 2)) \(monthNames[date.month - 1]) \(padded(date.year, 4)) \(time) GMT"
    }

    /// The proleptic Gregorian date. Years are counted from 1 March, so that a leap day is the last day of its year;
    /// 400 of them are always 146,097 days.
    private static func civilDate(daysSinceEpoch: Int) -> (year: Int, month: Int, day: Int) {
        let daysPerEra = 146_097
        let daysFromYearZeroToEpoch = 719_468
        let shifted = daysSinceEpoch + daysFromYearZeroToEpoch
        let era = floorDivide(shifted, daysPerEra)
        let dayOfEra = shifted - era * daysPerEra
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = era * 400 + yearOfEra + (month <= 2 ? 1 : 0)
        return (year, month, day)
    }

    private static func floorDivide(_ dividend: Int, _ divisor: Int) -> Int {
        let quotient = dividend / divisor
        return dividend % divisor < 0 ? quotient - 1 : quotient
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
