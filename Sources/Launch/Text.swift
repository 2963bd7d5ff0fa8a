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

/// Where a byte is in a text; where the text ends if it is not there.
func end(of text: CString, at byte: UInt8) -> CString {
    var end = text
    while end.pointee != 0, end.pointee != CChar(byte) { end += 1 }
    return end
}

/// Words behind each other in memory, as in argv.
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

    init(_ words: Words) { self = words }

    /// Precondition: `index` is less than ``count``.
    subscript(index: Int) -> CString { CString(pointer[index]!) }

    var first: CString? { count == 0 ? nil : self[0] }

    func dropFirst() -> Words { count == 0 ? self : Words(pointer + 1, count: count - 1) }
}

/// Bytes that are put together, up to a limit; what is beyond it is left out.
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

    /// The text, with a NUL at its end. Lives until the process ends or becomes another.
    var text: CString { CString(start) }

    /// Whether nothing was left out.
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

    /// A text of which control characters would end or change the line that it stands in.
    mutating func append(printable text: CString) {
        var index = 0
        while text[index] != 0 {
            let byte = UInt8(bitPattern: text[index])
            append(byte < 0x20 || byte == 0x7f ? CChar(UInt8(ascii: "?")) : text[index])
            index += 1
        }
    }

    mutating func append(number: CInt) {
        if number >= 10 { append(number: number / 10) }
        append(CChar(48 + number % 10))
    }

    /// Writes all of it to a descriptor, and waits while that takes nothing. False when that fails.
    func write(to descriptor: CInt) -> Bool { writeAll(descriptor, start, count) }
}

/// Writes all bytes to a descriptor, and waits while that takes nothing. False when that fails.
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
