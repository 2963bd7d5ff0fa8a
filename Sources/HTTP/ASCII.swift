/// The character classes of RFC 9110 and RFC 3986 that the parsers ask about.
extension UInt8 {
    static let horizontalTab: UInt8 = 0x09
    static let lineFeed: UInt8 = 0x0A
    static let carriageReturn: UInt8 = 0x0D
    static let space: UInt8 = 0x20

    /// RFC 9110 §5.6.2: `tchar`.
    var isTokenCharacter: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
            UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            true
        default:
            false
        }
    }

    /// RFC 3986 §2.3: `unreserved`.
    var isUnreserved: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
            true
        default:
            false
        }
    }

    /// RFC 3986 §3.3: what may stand in a path segment, the percent sign of an encoded octet included.
    var isSegmentCharacter: Bool {
        switch self {
        case UInt8(ascii: "!"), UInt8(ascii: "$"), UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "("),
            UInt8(ascii: ")"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: ","), UInt8(ascii: ";"),
            UInt8(ascii: "="), UInt8(ascii: ":"), UInt8(ascii: "@"), UInt8(ascii: "%"):
            true
        default:
            isUnreserved
        }
    }

    /// RFC 3986 §3.4: what may stand in a query.
    var isQueryCharacter: Bool {
        isSegmentCharacter || self == UInt8(ascii: "/") || self == UInt8(ascii: "?")
    }

    var isDigit: Bool {
        UInt8(ascii: "0") <= self && self <= UInt8(ascii: "9")
    }

    /// The C0 controls and DEL, the horizontal tab included.
    var isControl: Bool {
        self < 0x20 || self == 0x7F
    }

    /// The value of a hexadecimal digit of either case; nil for any other byte.
    var hexadecimalValue: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    var lowercased: UInt8 {
        UInt8(ascii: "A") <= self && self <= UInt8(ascii: "Z") ? self + 0x20 : self
    }
}

/// Compares without regard to the case of ASCII letters, as field names and most tokens of HTTP are compared.
func equalIgnoringCase(_ left: String, _ right: String) -> Bool {
    guard left.utf8.count == right.utf8.count else { return false }
    let left = left.utf8Span.span
    let right = right.utf8Span.span
    for index in left.indices where left[index] != right[index] {
        guard left[index].lowercased == right[index].lowercased else { return false }
    }
    return true
}

/// Compares byte by byte; `==` treats canonically equivalent strings as equal.
func equalBytes(_ left: String, _ right: String) -> Bool {
    guard left.utf8.count == right.utf8.count else { return false }
    let left = left.utf8Span.span
    let right = right.utf8Span.span
    for index in left.indices where left[index] != right[index] { return false }
    return true
}

/// Drops the optional whitespace around a member of a list. RFC 9110 §5.6.3.
func trimmingWhitespace(_ text: Substring) -> Substring {
    var text = text
    // Byte by byte: to a Character, a space with a combining mark behind it is something else.
    while text.utf8.first == .space || text.utf8.first == .horizontalTab { text.utf8.removeFirst() }
    while text.utf8.last == .space || text.utf8.last == .horizontalTab { text.utf8.removeLast() }
    return text
}
