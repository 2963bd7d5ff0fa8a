internal import CLaunch

/// A file of environment variables, `env_file`, which is read as the service's account.
///
/// The grammar is that of systemd.exec(5), `EnvironmentFile=` (since version 254: a comment ends with its line), and
/// `export ` in front of a name is skipped. A line without an assignment is ignored, with a line on standard error.
struct EnvironmentFile {
    /// The largest file, in bytes.
    private static let bytesLimit = 1024 * 1024

    private let path: CString
    private let content: UnsafeMutablePointer<CChar>
    private let size: Int
    private var position = 0
    private var line: CInt = 1
    /// The entries: each takes at most as many bytes as its line, and a NUL.
    private let entries: UnsafeMutablePointer<CChar>
    private var used = 0

    /// Nil, with errno, when it cannot be read: EFBIG for one that is too large, EBADMSG for one with a NUL, EINVAL for
    /// what is no file.
    init?(_ path: CString) {
        guard let (content, size) = readFile(path, limit: Self.bytesLimit, isRegular: true) else { return nil }
        for index in 0..<size where content[index] == 0 {
            errno = EBADMSG
            return nil
        }
        self.path = path
        self.content = content
        self.size = size
        entries = UnsafeMutablePointer.allocate(capacity: size + 2)
    }

    private enum State {
        case beforeName, name, beforeValue, value, escape, singleQuotes, doubleQuotes, doubleQuotesEscape, comment
    }

    /// The next variable as NAME=VALUE; nil at the end of the file.
    mutating func next() -> UnsafeMutablePointer<CChar>? {
        var state = State.beforeName
        var entry = used
        // Where trailing white space of the name or value begins.
        var blank: Int?
        var isName = false
        while position < size {
            let byte = UInt8(bitPattern: content[position])
            position += 1
            let isNewLine = byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r")
            let isBlank = isNewLine || byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t")
            if byte == UInt8(ascii: "\n") { line += 1 }
            switch state {
            case .beforeName:
                if byte == UInt8(ascii: "#") || byte == UInt8(ascii: ";") {
                    state = .comment
                } else if !isBlank {
                    state = .name
                    entry = used
                    blank = nil
                    append(byte)
                }
            case .name:
                if isNewLine {
                    ignore(since: byte)
                    used = entry
                    state = .beforeName
                } else if byte == UInt8(ascii: "=") {
                    if let blank { used = blank }
                    entry = skipExport(entry)
                    isName = isVariableName(entry, used)
                    append(byte)
                    blank = nil
                    state = .beforeValue
                } else {
                    note(isBlank, &blank)
                    append(byte)
                }
            case .beforeValue, .value:
                if isNewLine {
                    if state == .value, let blank { used = blank }
                    if isName { return end(entry) }
                    ignore(since: byte)
                    used = entry
                    state = .beforeName
                } else if byte == UInt8(ascii: "\\") {
                    blank = nil
                    state = .escape
                } else if state == .beforeValue, byte == UInt8(ascii: "'") {
                    state = .singleQuotes
                } else if state == .beforeValue, byte == UInt8(ascii: "\"") {
                    state = .doubleQuotes
                } else if state == .value || !isBlank {
                    state = .value
                    note(isBlank, &blank)
                    append(byte)
                }
            case .escape:
                // A line feed behind a backslash is no part of the value.
                if !isNewLine { append(byte) }
                state = .value
            case .singleQuotes:
                if byte == UInt8(ascii: "'") { state = .beforeValue } else { append(byte) }
            case .doubleQuotes:
                if byte == UInt8(ascii: "\"") {
                    state = .beforeValue
                } else if byte == UInt8(ascii: "\\") {
                    state = .doubleQuotesEscape
                } else {
                    append(byte)
                }
            case .doubleQuotesEscape:
                switch byte {
                case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "`"), UInt8(ascii: "$"): append(byte)
                case UInt8(ascii: "\n"): break
                default:
                    append(UInt8(ascii: "\\"))
                    append(byte)
                }
                state = .doubleQuotes
            case .comment:
                if isNewLine { state = .beforeName }
            }
        }
        switch state {
        case .beforeName, .comment: return nil
        case .name: break
        case .value, .beforeValue, .escape, .singleQuotes, .doubleQuotes, .doubleQuotesEscape:
            if state == .value, let blank { used = blank }
            if isName { return end(entry) }
        }
        ignore(since: 0)
        return nil
    }

    private mutating func append(_ byte: UInt8) {
        entries[used] = CChar(bitPattern: byte)
        used += 1
    }

    private func note(_ isBlank: Bool, _ blank: inout Int?) {
        if !isBlank { blank = nil } else if blank == nil { blank = used }
    }

    /// Ends an entry and returns it.
    private mutating func end(_ entry: Int) -> UnsafeMutablePointer<CChar> {
        append(0)
        return entries + entry
    }

    /// Where the name behind `export ` begins.
    private func skipExport(_ entry: Int) -> Int {
        let word: StaticString = "export"
        let length = word.utf8CodeUnitCount
        guard used > entry + length, strncmp(entries + entry, word.cString, length) == 0 else { return entry }
        var name = entry + length
        while name < used, entries[name] == 32 || entries[name] == 9 { name += 1 }
        return name == entry + length ? entry : name
    }

    /// A name of POSIX.1-2024, 3.216.
    private func isVariableName(_ start: Int, _ end: Int) -> Bool {
        guard start < end else { return false }
        for index in start..<end {
            switch UInt8(bitPattern: entries[index]) {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "_"): break
            case UInt8(ascii: "0")...UInt8(ascii: "9") where index > start: break
            default: return false
            }
        }
        return true
    }

    /// Writes that the line that has just ended is ignored. `byte` is its last one.
    private func ignore(since byte: UInt8) {
        var text = Buffer(limit: Int(PATH_MAX) + 128)
        text.append("line ")
        text.append(number: byte == UInt8(ascii: "\n") ? line - 1 : line)
        text.append(" of the env_file ")
        text.append(printable: path)
        text.append(" assigns no variable, and is ignored\n")
        _ = text.write(to: STDERR_FILENO)
    }
}

/// The content of a file, never freed. Nil, with errno, when it cannot be read; EFBIG for one beyond the limit. With
/// `isRegular`, EINVAL for what is neither a regular file nor /dev/null.
func readFile(_ path: CString, limit: Int, isRegular: Bool = false) -> (
    content: UnsafeMutablePointer<CChar>, size: Int
)? {
    let descriptor = openForReading(path)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    if isRegular {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        guard status.isRegular || status.isNull || status.isDirectory else {
            errno = EINVAL
            return nil
        }
    }
    let content = UnsafeMutablePointer<CChar>.allocate(capacity: limit + 1)
    var size = 0
    while size <= limit {
        let count = read(descriptor, content + size, limit + 1 - size)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return nil }
        guard count > 0 else { return (content, size) }
        size += count
    }
    errno = EFBIG
    return nil
}
