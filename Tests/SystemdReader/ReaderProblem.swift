/// Why a text is not what systemd or the shell reads without a complaint.
package struct ReaderProblem: Error, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }

    /// systemd takes neither NUL nor the code points that Unicode keeps out of text, and a line of a mebibyte at most.
    static func checkText(_ text: String) throws(ReaderProblem) {
        for scalar in text.unicodeScalars {
            if (0xFDD0...0xFDEF).contains(scalar.value) || scalar.value & 0xFFFE == 0xFFFE {
                throw ReaderProblem("there is a noncharacter")
            }
            if scalar == "\0" { throw ReaderProblem("there is a NUL") }
        }
        guard text.utf8.split(separator: 0x0A).allSatisfy({ $0.count < 1024 * 1024 }) else {
            throw ReaderProblem("a line is too long")
        }
    }
}
