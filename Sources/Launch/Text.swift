internal import CLaunch

typealias CString = UnsafePointer<CChar>

/// The error of the last call that failed: errno(3), a macro that Swift does not import.
var errno: CInt {
    get { __errno_location().pointee }
    set { __errno_location().pointee = newValue }
}

extension StaticString {
    /// The literal as C text: the compiler ends it with a NUL.
    var cString: CString { UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self) }
}

func strcmp(_ text: CString, _ other: StaticString) -> CInt { CLaunch.strcmp(text, other.cString) }

func isPrefix(_ prefix: StaticString, of text: CString) -> Bool {
    strncmp(text, prefix.cString, prefix.utf8CodeUnitCount) == 0
}

/// The first occurrence of a byte in a text; the end of the text if there is none.
func end(of text: CString, at byte: UInt8) -> CString {
    var end = text
    while end.pointee != 0, end.pointee != CChar(byte) { end += 1 }
    return end
}

/// An array of C strings, like argv.
struct Words {
    let pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    let count: Int

    /// Up to a null pointer.
    init(_ pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) {
        var count = 0
        while pointer[count] != nil { count += 1 }
        self.init(pointer, count: count)
    }

    init(_ pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>, count: Int) {
        self.pointer = pointer
        self.count = count
    }

    /// Precondition: `index` is less than ``count``.
    subscript(index: Int) -> CString { CString(pointer[index]!) }

    var first: CString? { count == 0 ? nil : self[0] }

    func dropFirst() -> Words { count == 0 ? self : Words(pointer + 1, count: count - 1) }
}

/// A byte buffer with a limit; bytes beyond it are dropped.
struct Buffer: ~Copyable {
    let start: UnsafeMutablePointer<CChar>
    private(set) var count = 0
    private let limit: Int

    /// Room for `limit` bytes and a NUL.
    init(limit: Int) {
        self.limit = limit
        start = UnsafeMutablePointer.allocate(capacity: limit + 1)
        start[0] = 0
    }

    /// The text, with a NUL at its end. It is never freed: the process ends or executes another program.
    var text: CString { CString(start) }

    /// Whether no byte was dropped.
    private(set) var isWhole = true

    mutating func append(_ byte: CChar) {
        guard count < limit else {
            isWhole = false
            return
        }
        start[count] = byte
        count += 1
        start[count] = 0
    }

    mutating func append(_ text: CString, count: Int) {
        for index in 0..<count { append(text[index]) }
    }

    mutating func append(_ text: CString) { append(text, count: strlen(text)) }

    mutating func append(_ text: StaticString) { append(text.cString, count: text.utf8CodeUnitCount) }

    /// Appends a text with question marks for control characters, which could forge a line, and for invalid UTF-8 and
    /// noncharacters, for which systemd refuses a status. No character is cut in two.
    mutating func append(printable text: CString) {
        var rest = text
        while rest.pointee != 0 {
            let (length, isPrintable) = Self.character(rest)
            guard count + length <= limit else {
                isWhole = false
                return
            }
            if isPrintable { append(rest, count: length) } else { append(CChar(UInt8(ascii: "?"))) }
            rest += length
        }
    }

    /// The number of bytes of the first character of a text that is not empty: RFC 3629, section 4. 1 for what is no
    /// UTF-8.
    private static func character(_ text: CString) -> (length: Int, isPrintable: Bool) {
        let first = UInt32(UInt8(bitPattern: text[0]))
        if first < 0x80 { return (1, first >= 0x20 && first != 0x7f) }
        let length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2
        guard (0xc2...0xf4).contains(first) else { return (1, false) }
        var scalar = first & (0x7f >> UInt32(length))
        for index in 1..<length {
            let byte = UInt32(UInt8(bitPattern: text[index]))
            // The NUL at the end is none of these either.
            guard byte & 0xc0 == 0x80 else { return (1, false) }
            scalar = scalar << 6 | byte & 0x3f
        }
        let least: UInt32 = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80
        guard scalar >= least, scalar <= 0x10ffff, !(0xd800...0xdfff).contains(scalar) else { return (1, false) }
        // C1, and the noncharacters of Unicode.
        let isNoncharacter = scalar & 0xfffe == 0xfffe || (0xfdd0...0xfdef).contains(scalar)
        return (length, scalar >= 0xa0 && !isNoncharacter)
    }

    mutating func append(number: CInt) { append(number: Int(number)) }

    mutating func append(number: Int) {
        if number >= 10 { append(number: number / 10) }
        append(CChar(48 + number % 10))
    }

    /// Writes all bytes to a descriptor, waiting while it is not writable. False when that fails.
    func write(to descriptor: CInt) -> Bool { writeAll(descriptor, start, count) }
}

/// Writes all bytes to a descriptor, waiting while it is not writable. False when that fails.
func writeAll(_ descriptor: CInt, _ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
    var done = 0
    while done < count {
        let written = write(descriptor, bytes + done, count - done)
        if written >= 0 {
            done += written
        } else if errno != EINTR {
            return false
        }
    }
    return true
}

/// Writes a line to standard error.
func writeLine(_ text: StaticString) {
    var line = Buffer(limit: text.utf8CodeUnitCount + 1)
    line.append(text)
    line.append("\n")
    _ = line.write(to: STDERR_FILENO)
}
