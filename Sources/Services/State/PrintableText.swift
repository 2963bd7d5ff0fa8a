/// Text of a program's as it can stand in a message that goes to a terminal.
enum PrintableText {
    /// The text with a question mark for each control character.
    static func of(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isControl) else { return text }
        var printable = String.UnicodeScalarView()
        for scalar in text.unicodeScalars { printable.append(isControl(scalar) ? "?" : scalar) }
        return String(printable)
    }

    /// C0, DEL and C1: ECMA-48.
    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
    }
}
