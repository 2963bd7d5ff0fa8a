/// The text of an environment file: systemd.exec(5), `EnvironmentFile=`.
///
/// Also compiled into the launcher, as Embedded Swift: bytes and no String.
public struct EnvironmentText {
    /// In what readers of such a text differ.
    public struct Rules: Sendable {
        /// Whether `export ` in front of a name is skipped, as in a script of a shell. systemd ignores such a line.
        public var skipsExport = false
        /// Whether a comment goes on in the next line behind a backslash, as before version 254 of systemd.
        public var continuesComments = false

        public init(skipsExport: Bool = false, continuesComments: Bool = false) {
            self.skipsExport = skipsExport
            self.continuesComments = continuesComments
        }
    }

    public enum Line: Equatable, Sendable {
        case variable(name: [UInt8], value: [UInt8])
        /// Something else than an assignment to a variable, which ends in the line of that number.
        case other(number: Int)
    }

    private let bytes: [UInt8]
    private let rules: Rules
    private var position = 0
    /// The number of the line at the position.
    private var number = 1

    private enum State {
        case beforeName, name, beforeValue, value, escape, singleQuotes, doubleQuotes, doubleQuotesEscape, comment
        case commentEscape
    }

    public init(_ bytes: [UInt8], _ rules: Rules = Rules()) {
        self.bytes = bytes
        self.rules = rules
    }

    /// The next line that is neither blank nor a comment, with those that it continues in; nil at the end.
    public mutating func next() -> Line? {
        var state = State.beforeName
        var name: [UInt8] = []
        var value: [UInt8] = []
        // The blanks at the end of the value that are outside of quotes.
        var blanks = 0
        while position < bytes.count {
            let byte = bytes[position]
            let line = number
            position += 1
            let isEnd = byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r")
            if byte == UInt8(ascii: "\n") { number += 1 }
            switch state {
            case .beforeName:
                if byte == UInt8(ascii: "#") || byte == UInt8(ascii: ";") {
                    state = .comment
                } else if !Self.isBlank(byte) {
                    state = .name
                    name.append(byte)
                }
            case .name:
                if isEnd { return .other(number: line) }
                if byte == UInt8(ascii: "=") { state = .beforeValue } else { name.append(byte) }
            case .beforeValue, .value:
                if isEnd { return assignment(name, value.dropLast(blanks), line) }
                if byte == UInt8(ascii: "\\") {
                    state = .escape
                    blanks = 0
                } else if state == .beforeValue, byte == UInt8(ascii: "'") {
                    state = .singleQuotes
                } else if state == .beforeValue, byte == UInt8(ascii: "\"") {
                    state = .doubleQuotes
                } else if state == .value || !Self.isBlank(byte) {
                    state = .value
                    value.append(byte)
                    blanks = Self.isBlank(byte) ? blanks + 1 : 0
                }
            case .escape:
                // The end of a line behind a backslash is no part of the value.
                if !isEnd { value.append(byte) }
                state = .value
            case .singleQuotes:
                if byte == UInt8(ascii: "'") { state = .beforeValue } else { value.append(byte) }
            case .doubleQuotes:
                if byte == UInt8(ascii: "\"") {
                    state = .beforeValue
                } else if byte == UInt8(ascii: "\\") {
                    state = .doubleQuotesEscape
                } else {
                    value.append(byte)
                }
            case .doubleQuotesEscape:
                switch byte {
                case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "`"), UInt8(ascii: "$"): value.append(byte)
                case UInt8(ascii: "\n"): break
                default:
                    value.append(UInt8(ascii: "\\"))
                    value.append(byte)
                }
                state = .doubleQuotes
            case .comment:
                if isEnd {
                    state = .beforeName
                } else if byte == UInt8(ascii: "\\"), rules.continuesComments {
                    state = .commentEscape
                }
            case .commentEscape: state = .comment
            }
        }
        switch state {
        case .beforeName, .comment, .commentEscape: return nil
        case .name: return .other(number: number)
        case .beforeValue, .value, .escape, .singleQuotes, .doubleQuotes, .doubleQuotesEscape:
            return assignment(name, value.dropLast(blanks), number)
        }
    }

    private func assignment(_ text: [UInt8], _ value: ArraySlice<UInt8>, _ line: Int) -> Line {
        var name = text[...]
        while let last = name.last, Self.isBlank(last) { name = name.dropLast() }
        if rules.skipsExport { name = Self.withoutExport(name) }
        return Self.isVariable(name) ? .variable(name: Array(name), value: Array(value)) : .other(number: line)
    }

    private static func withoutExport(_ name: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let word: [UInt8] = [0x65, 0x78, 0x70, 0x6f, 0x72, 0x74]
        guard name.starts(with: word) else { return name }
        let rest = name.dropFirst(word.count)
        guard let first = rest.first, isBlank(first) else { return name }
        return rest.drop { isBlank($0) }
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\n")
            || byte == UInt8(ascii: "\r")
    }

    /// A name of POSIX.1-2024, 3.216.
    private static func isVariable(_ name: ArraySlice<UInt8>) -> Bool {
        guard let first = name.first, !(0x30...0x39).contains(first) else { return false }
        return name.allSatisfy { byte in
            (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte)
                || byte == UInt8(ascii: "_")
        }
    }
}
