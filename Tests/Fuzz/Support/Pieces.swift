/// Inputs that are made of several texts.
package enum Pieces {
    /// Cuts an input at U+001F, UNIT SEPARATOR, at most so often; what comes after the last cut may have more of them.
    /// Nil when a piece is not UTF-8: texts that reach a spec are.
    package static func split(_ input: [UInt8], cuts: Int) -> [String]? {
        var pieces: [String] = []
        for piece in input.split(separator: 0x1F, maxSplits: cuts, omittingEmptySubsequences: false) {
            guard let text = String(validating: piece, as: UTF8.self) else { return nil }
            pieces.append(text)
        }
        return pieces
    }
}
