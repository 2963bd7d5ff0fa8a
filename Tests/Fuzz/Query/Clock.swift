import Glibc

/// Times as RFC 3339 writes them, by the C library's calendar. Nothing of it is shared with the parser.
enum Clock {
    /// The whole seconds since 1970 of a text such as "2026-01-31T12:00:00.5+01:00"; nil where it is too short for one.
    static func seconds(_ text: String) -> Int64? {
        let numbers = text.utf8.split { !(0x30...0x39).contains($0) }.map {
            Int32(String(decoding: $0, as: UTF8.self)) ?? 0
        }
        guard numbers.count >= 6, text.utf8.dropFirst(4).first == UInt8(ascii: "-") else { return nil }
        var date = tm()
        date.tm_year = numbers[0] - 1900
        date.tm_mon = numbers[1] - 1
        date.tm_mday = numbers[2]
        date.tm_hour = numbers[3]
        date.tm_min = numbers[4]
        date.tm_sec = numbers[5]
        let seconds = Int64(timegm(&date))
        let offset = text.utf8.suffix(6)
        guard offset.dropFirst(3).first == UInt8(ascii: ":"), offset.first != UInt8(ascii: ":") else { return seconds }
        let east = Int64(numbers[numbers.count - 2]) * 3600 + Int64(numbers[numbers.count - 1]) * 60
        return offset.first == UInt8(ascii: "-") ? seconds + east : seconds - east
    }
}
