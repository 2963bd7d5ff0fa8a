/// Reads simple commands as the shell does: POSIX.1-2024, Shell Command Language, 2.2 and 2.3. Whatever the shell would
/// expand or run is a problem.
package enum ShellReader {
    /// The words of each line that has some.
    package static func read(_ script: String) throws(ReaderProblem) -> [[[UInt8]]] {
        var commands: [[[UInt8]]] = []
        var words: [[UInt8]] = []
        var word: [UInt8]?
        var rest = Array(script.utf8)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case 0x0A, 0x20, 0x09:
                if let word { words.append(word) }
                word = nil
                guard byte == 0x0A, !words.isEmpty else { continue }
                commands.append(words)
                words = []
            case UInt8(ascii: "'"):
                guard let end = rest.firstIndex(of: byte) else { throw ReaderProblem("a quote is not closed") }
                word = (word ?? []) + rest[..<end]
                rest = rest[(end + 1)...]
            case UInt8(ascii: "\\"):
                guard let next = rest.popFirst(), next != 0x0A else { throw ReaderProblem("a line goes on") }
                word = (word ?? []) + [next]
            case _ where "|&;<>()$`\"*?[]#~!{}%".utf8.contains(byte) || byte < 0x20 || byte >= 0x7F:
                throw ReaderProblem("there is syntax outside of quotes")
            default: word = (word ?? []) + [byte]
            }
        }
        guard word == nil, words.isEmpty else { throw ReaderProblem("the last line has no end") }
        return commands
    }
}
