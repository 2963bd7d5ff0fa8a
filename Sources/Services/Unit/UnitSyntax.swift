/// Escapes values for the lines of a unit file: systemd.syntax(7), systemd.service(5) "Command lines".
enum UnitSyntax {
    /// A command line that systemd splits back into exactly these arguments. The leading ':' switches the expansion of
    /// `$NAME` off; the program must be an absolute path without anything to escape.
    static func execStart(_ arguments: [String]) -> String {
        let words = arguments.enumerated().map { index, word in
            index == 0 || isPlain(word) ? word : "\"\(escapedForQuotes(word))\""
        }
        return ":" + words.joined(separator: " ")
    }

    /// A working directory. The slash at the end keeps a trailing blank or backslash of the path from being read as
    /// syntax; to the kernel it is the same directory.
    static func workingDirectory(_ path: String) -> String { self.path(path) + "/" }

    /// A path, which is taken up to the end of the line but for specifiers.
    static func path(_ path: String) -> String {
        path.split(separator: "%", omittingEmptySubsequences: false).joined(separator: "%%")
    }

    private static func isPlain(_ word: String) -> Bool {
        word.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "/"), UInt8(ascii: "-"): true
            default: false
            }
        }
    }

    /// The inside of a double-quoted word: C escapes for what is special or invisible, specifiers doubled.
    private static func escapedForQuotes(_ text: String) -> String {
        let hexadecimal = Array("0123456789abcdef".unicodeScalars)
        var escaped = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\", "\"": escaped.append(contentsOf: ["\\", scalar])
            case "%": escaped.append(contentsOf: ["%", "%"])
            case _ where scalar.value < 0x20 || scalar.value == 0x7f:
                let value = Int(scalar.value)
                escaped.append(contentsOf: ["\\", "x", hexadecimal[value >> 4], hexadecimal[value & 15]])
            default: escaped.append(scalar)
            }
        }
        return String(escaped)
    }
}
