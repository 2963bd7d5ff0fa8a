/// The name of a Unix account that systemd accepts; it logs a warning for a name with a dot.
public enum AccountName {
    /// Why the text is no account name; nil when it is one.
    public static func problem(in text: String) -> String? {
        let bytes = text.utf8
        guard let first = bytes.first else { return "must not be empty" }
        guard bytes.count <= SpecLimits.userBytesLimit else {
            return "must be at most \(SpecLimits.userBytesLimit) bytes long"
        }
        // A leading digit would be read as a number, a leading '-' as an option.
        guard isLetter(first) || first == UInt8(ascii: "_") else { return "must start with a letter or '_'" }
        let isName = bytes.allSatisfy { byte in
            isLetter(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "_-.".utf8.contains(byte)
        }
        return isName ? nil : "may hold only letters, digits, '_', '-' and '.'"
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte & 0xdf | 0x20) && byte < 0x80
    }
}
