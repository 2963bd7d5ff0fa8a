/// An environment file as systemd reads it: `EnvironmentFile=` in systemd.exec(5).
enum EnvironmentFile {
    private enum State {
        case betweenLines
        case comment(isEscaped: Bool)
        case name
        case beforeValue
        case value
        case valueEscape
        case singleQuotes
        case doubleQuotes
        case doubleQuotesEscape
    }

    /// The first version of systemd for which a line feed ends a comment also behind a backslash.
    private static let versionWithCommentLines = 254

    /// The variables in order; a later one of the same name takes the place of an earlier one. What is no assignment is
    /// ignored. `systemdVersion` is nil where that is not known.
    static func variables(of text: String, systemdVersion: Int?) -> [(name: String, value: String)] {
        let continuesComments = systemdVersion.map { $0 < versionWithCommentLines } ?? false
        var variables: [(name: String, value: String)] = []
        var state = State.betweenLines
        var name: [UInt8] = []
        var value: [UInt8] = []
        /// Blanks at the end of a value that are outside of quotes.
        var blanks = 0
        func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == 0x0D }
        func endLine() {
            let isName = !name.isEmpty && !(0x30...0x39).contains(name[0])
            if isName, name.allSatisfy(Self.isOfName) {
                value.removeLast(min(blanks, value.count))
                variables.append((String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self)))
            }
            (state, name, value, blanks) = (.betweenLines, [], [], 0)
        }
        for byte in Array(text.utf8) + [0x0A] {
            let isEnd = byte == 0x0A
            switch state {
            case .betweenLines:
                if byte == UInt8(ascii: "#") || byte == UInt8(ascii: ";") {
                    state = .comment(isEscaped: false)
                } else if !isEnd, !isBlank(byte) {
                    state = .name
                    name = [byte]
                }
            case .comment(let isEscaped):
                if isEnd, !isEscaped || !continuesComments {
                    state = .betweenLines
                } else {
                    state = .comment(isEscaped: byte == UInt8(ascii: "\\") && !isEscaped)
                }
            case .name:
                if isEnd {
                    (state, name) = (.betweenLines, [])
                } else if byte == UInt8(ascii: "=") {
                    while let last = name.last, isBlank(last) { name.removeLast() }
                    state = .beforeValue
                } else {
                    name.append(byte)
                }
            case .beforeValue, .value:
                let isBegin = if case .beforeValue = state { true } else { false }
                if isEnd {
                    endLine()
                } else if byte == UInt8(ascii: "\\") {
                    state = .valueEscape
                    blanks = 0
                } else if isBegin, byte == UInt8(ascii: "'") {
                    state = .singleQuotes
                } else if isBegin, byte == UInt8(ascii: "\"") {
                    state = .doubleQuotes
                } else if !isBegin || !isBlank(byte) {
                    state = .value
                    value.append(byte)
                    blanks = isBlank(byte) ? blanks + 1 : 0
                }
            case .valueEscape:
                state = .value
                if !isEnd { value.append(byte) }
            case .singleQuotes: if byte == UInt8(ascii: "'") { state = .beforeValue } else { value.append(byte) }
            case .doubleQuotes:
                if byte == UInt8(ascii: "\"") {
                    state = .beforeValue
                } else if byte == UInt8(ascii: "\\") {
                    state = .doubleQuotesEscape
                } else {
                    value.append(byte)
                }
            case .doubleQuotesEscape:
                state = .doubleQuotes
                if !"\"\\`$\n".utf8.contains(byte) { value.append(UInt8(ascii: "\\")) }
                if !isEnd { value.append(byte) }
            }
        }
        return variables
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte)
            || byte == UInt8(ascii: "_")
    }
}
