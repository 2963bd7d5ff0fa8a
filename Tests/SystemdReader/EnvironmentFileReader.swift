/// Reads what systemd would read from an environment file, by `EnvironmentFile=` in systemd.exec(5). Only the plainest
/// of the forms there is taken, a name and a value in double quotes; any other is a problem.
package enum EnvironmentFileReader {
    /// The variables in order, the bytes of each value as the process gets them.
    package static func read(_ text: String) throws(ReaderProblem) -> [(name: String, value: [UInt8])] {
        try ReaderProblem.checkText(text)
        var variables: [(name: String, value: [UInt8])] = []
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let name = rest.prefix { $0 != UInt8(ascii: "=") }
            guard let first = name.first, !isDigit(first), name.allSatisfy({ isLetter($0) || isDigit($0) }) else {
                throw ReaderProblem("a line does not begin with a name")
            }
            rest = rest[name.endIndex...].dropFirst()
            let value = try quoted(&rest)
            guard rest.popFirst() == 0x0A else { throw ReaderProblem("a line goes on behind the value") }
            variables.append((String(decoding: name, as: UTF8.self), value))
        }
        return variables
    }

    /// "Use backslash to escape": within double quotes a backslash makes the next byte stand for itself if it is one of
    /// four, vanishes with a line feed, and is a backslash otherwise.
    private static func quoted(_ rest: inout ArraySlice<UInt8>) throws(ReaderProblem) -> [UInt8] {
        guard rest.popFirst() == UInt8(ascii: "\"") else { throw ReaderProblem("a value is not in double quotes") }
        var value: [UInt8] = []
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""): return value
            case UInt8(ascii: "\\"):
                guard let next = rest.popFirst() else { throw ReaderProblem("an escape ends the file") }
                if "\"\\`$".utf8.contains(next) {
                    value.append(next)
                } else if next != 0x0A {
                    value += [byte, next]
                }
            default: value.append(byte)
            }
        }
        throw ReaderProblem("a quote is not closed")
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte == UInt8(ascii: "_")
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
}
