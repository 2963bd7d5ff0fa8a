internal import Glibc

/// Times in the machine's time zone: tzset(3).
public enum LocalTime {
    /// The microseconds since 1970 of a date "2026-11-30" and a time "02:03:04"; nil for another form.
    public static func microseconds(date: some StringProtocol, time: some StringProtocol) -> Int64? {
        func numbers(_ text: some StringProtocol, _ separator: Character) -> [CInt]? {
            let numbers = text.split(separator: separator, omittingEmptySubsequences: false).map { CInt($0) }
            return numbers.count == 3 && !numbers.contains(nil) ? numbers.compactMap { $0 } : nil
        }
        guard let day = numbers(date, "-"), let clock = numbers(time, ":") else { return nil }
        var parts = unsafe tm()
        unsafe (parts.tm_year, parts.tm_mon, parts.tm_mday) = (day[0] - 1900, day[1] - 1, day[2])
        unsafe (parts.tm_hour, parts.tm_min, parts.tm_sec) = (clock[0], clock[1], clock[2])
        // Whether it is summer time follows from the date.
        unsafe parts.tm_isdst = -1
        let seconds = unsafe mktime(&parts)
        return seconds == -1 ? nil : Int64(seconds) * 1_000_000
    }
}
