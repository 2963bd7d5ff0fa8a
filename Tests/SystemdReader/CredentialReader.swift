/// Reads the launcher's credential as the launcher does: strings that each end with a NUL.
package enum CredentialReader {
    /// The bytes of each variable, NAME=VALUE, then those of the directory, the command and its arguments. Further
    /// commands are a problem.
    package static func read(_ text: String) throws(ReaderProblem) -> (variables: [[UInt8]], words: [[UInt8]]) {
        let bytes = Array(text.utf8)
        guard bytes.last == 0 else { throw ReaderProblem("the last string has no end") }
        let strings = bytes.dropLast().split(separator: 0, omittingEmptySubsequences: false).map { Array($0) }
        guard let first = strings.first, let count = Int(String(decoding: first, as: UTF8.self)), count >= 0,
            strings.count >= count + 4,
            let wordsCount = Int(String(decoding: strings[count + 2], as: UTF8.self)),
            strings.count == count + 3 + wordsCount, wordsCount > 0
        else { throw ReaderProblem("there are not as many strings as it says") }
        return (Array(strings[1...].prefix(count)), [strings[count + 1]] + strings[(count + 3)...])
    }
}
