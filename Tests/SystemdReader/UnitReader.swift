/// Reads what systemd would read: systemd.syntax(7) for lines, systemd.service(5) for command lines, systemd.unit(5)
/// for specifiers. Written from those pages; nothing of it is shared with what renders.
package enum UnitReader {
    /// The assignments of each section, in order.
    package static func read(_ text: String) throws -> [String: [(key: String, value: String)]] {
        try ReaderProblem.checkText(text)
        var sections: [String: [(key: String, value: String)]] = [:]
        var section: String?
        // systemd ends a line at LF and at CR.
        let lines = Array(text.utf8).split(omittingEmptySubsequences: false) { $0 == 0x0A || $0 == 0x0D }
        for bytes in lines {
            guard let line = String(validating: bytes, as: UTF8.self) else { throw ReaderProblem("no UTF-8") }
            guard bytes.last != UInt8(ascii: "\\") else { throw ReaderProblem("a line goes on: \(line)") }
            let first = bytes.first { !isBlank($0) }
            guard let first, first != UInt8(ascii: "#"), first != UInt8(ascii: ";") else { continue }
            if first == UInt8(ascii: "[") {
                guard bytes.last == UInt8(ascii: "]") else { throw ReaderProblem("no section: \(line)") }
                section = String(line.dropFirst().dropLast())
                continue
            }
            guard let section, let equals = bytes.firstIndex(of: UInt8(ascii: "=")) else {
                throw ReaderProblem("no assignment: \(line)")
            }
            let key = String(decoding: bytes[..<equals], as: UTF8.self)
            let value = trimmed(bytes[(equals + 1)...])
            sections[section, default: []].append((key, String(decoding: value, as: UTF8.self)))
        }
        return sections
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    /// Blanks at the ends of a value do not belong to it.
    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var rest = bytes.drop(while: isBlank)
        while let last = rest.last, isBlank(last) { rest.removeLast() }
        return rest
    }

    /// The words of a command line whose `$` is not expanded.
    package static func words(_ value: String) throws -> [[UInt8]] {
        guard value.utf8.first == UInt8(ascii: ":") else { throw ReaderProblem("variables are expanded") }
        var words: [[UInt8]] = []
        var rest = Array(value.utf8.dropFirst())[...]
        while true {
            rest = rest.drop(while: isBlank)
            guard !rest.isEmpty else { return words }
            words.append(try specifiersExpanded(try word(&rest)))
        }
    }

    private static func word(_ rest: inout ArraySlice<UInt8>) throws -> [UInt8] {
        guard let quote = rest.first, quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else {
            let word = rest.prefix { !isBlank($0) }
            guard !word.contains(where: { "\\\"';".utf8.contains($0) }) else {
                throw ReaderProblem("syntax in a bare word")
            }
            rest = rest[word.endIndex...]
            return Array(word)
        }
        rest.removeFirst()
        var word: [UInt8] = []
        while let byte = rest.popFirst() {
            if byte == quote {
                guard rest.isEmpty || isBlank(rest[rest.startIndex]) else { throw ReaderProblem("text after a quote") }
                return word
            }
            word.append(byte == UInt8(ascii: "\\") ? try escape(&rest) : byte)
        }
        throw ReaderProblem("a quote is not closed")
    }

    /// systemd.syntax(7), "Quoting": the C escapes.
    private static func escape(_ rest: inout ArraySlice<UInt8>) throws -> UInt8 {
        guard let kind = rest.popFirst() else { throw ReaderProblem("an escape ends the line") }
        let letters: [Character: UInt8] = [
            "a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 0x5C, "\"": 0x22, "'": 0x27, "s": 0x20,
        ]
        if let byte = letters[Character(Unicode.Scalar(kind))] { return byte }
        guard kind == UInt8(ascii: "x"), rest.count >= 2,
            let byte = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16), byte != 0
        else { throw ReaderProblem("an unknown escape") }
        rest.removeFirst(2)
        return byte
    }

    /// The paths of a list, as in `RequiresMountsFor=`: separated by blanks, in double quotes where they have some, and
    /// with a backslash before what is meant as it stands.
    package static func paths(_ value: String) throws -> [[UInt8]] {
        var paths: [[UInt8]] = []
        var rest = Array(value.utf8)[...]
        while let first = rest.first {
            if isBlank(first) {
                rest.removeFirst()
                continue
            }
            let isQuoted = first == UInt8(ascii: "\"")
            if isQuoted { rest.removeFirst() }
            var path: [UInt8] = []
            var isClosed = !isQuoted
            while let byte = rest.popFirst() {
                if isQuoted ? byte == UInt8(ascii: "\"") : isBlank(byte) {
                    isClosed = true
                    break
                }
                if byte == UInt8(ascii: "\\") {
                    guard let next = rest.popFirst() else { throw ReaderProblem("a backslash at the end") }
                    path.append(next)
                } else {
                    path.append(byte)
                }
            }
            guard isClosed else { throw ReaderProblem("an open quote") }
            paths.append(try specifiersExpanded(path))
        }
        return paths
    }

    /// systemd.unit(5), "Specifiers": two percent signs are one, and the instance's name is nothing in a unit without
    /// one; nothing here means any other.
    package static func specifiersExpanded(_ bytes: [UInt8]) throws -> [UInt8] {
        var expanded: [UInt8] = []
        var rest = bytes[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%") {
                switch rest.popFirst() {
                case UInt8(ascii: "%"): break
                case UInt8(ascii: "i"): continue
                default: throw ReaderProblem("a specifier")
                }
            }
            expanded.append(byte)
        }
        return expanded
    }
}
