/// Escapes values for the lines of a unit file: systemd.syntax(7), systemd.service(5) "Command lines".
enum UnitSyntax {
    /// A command line that systemd splits into exactly these arguments. The leading ':' disables the expansion of
    /// `$NAME`; the program must be an absolute path without characters to escape.
    static func execStart(_ arguments: [String]) -> String {
        let words = arguments.enumerated().map { index, word in
            index == 0 || isPlain(word) ? word : "\"\(escapedForQuotes(word))\""
        }
        return ":" + words.joined(separator: " ")
    }

    /// A path that extends to the end of the line, with specifiers escaped. `%i`, the instance's name, is empty in a
    /// unit without an instance, and keeps a space or backslash at the end of the path from being parsed as syntax.
    static func path(_ path: String) -> String {
        // By scalars: "%" followed by a combining mark is a different Character.
        var escaped = String.UnicodeScalarView()
        for scalar in path.unicodeScalars {
            if scalar == "%" { escaped.append("%") }
            escaped.append(scalar)
        }
        guard let last = path.utf8.last, " \t\\".utf8.contains(last) else { return String(escaped) }
        return String(escaped) + "%i"
    }

    /// One line of text, as ``path(_:)``; systemd drops blanks at its beginning.
    static func line(_ text: String) -> String {
        let isBlank = text.utf8.first.map { " \t".utf8.contains($0) } ?? false
        return (isBlank ? "%i" : "") + path(text)
    }

    /// A path in a list of paths, in which systemd processes quotes, backslashes and specifiers.
    static func listedPath(_ path: String) -> String {
        guard !isPlain(path) else { return path }
        var escaped = String.UnicodeScalarView()
        for scalar in path.unicodeScalars {
            if scalar == "%" { escaped.append("%") }
            if scalar == "\\" || scalar == "\"" { escaped.append("\\") }
            escaped.append(scalar)
        }
        return "\"\(String(escaped))\""
    }

    /// The longest name that systemd can give to the mount unit of a path, without its suffix. A unit that requires a
    /// path with a longer name does not load (systemd 247).
    static let mountNameBytesLimit = 240

    /// Whether a path can be a mount unit's: systemd.unit(5), "String Escaping for Inclusion in Unit Names".
    static func hasMountUnit(_ path: String) -> Bool {
        let length = path.utf8.reduce(0) { length, byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                length + 1
            // A slash becomes a hyphen, and any other byte "\xHH".
            default: length + ("/:_.".utf8.contains(byte) ? 1 : 4)
            }
        }
        return length <= mountNameBytesLimit
    }

    /// Whether systemd takes a path for `WorkingDirectory=`: absolute, and without the components "." and "..", names
    /// that no file system has, and noncharacters.
    static func isNormalized(_ path: String) -> Bool {
        guard !LaunchCredential.hasNoncharacter(path) else { return false }
        return path.utf8.split(separator: UInt8(ascii: "/")).allSatisfy { component in
            component.count <= nameBytesLimit && !component.elementsEqual(".".utf8)
                && !component.elementsEqual("..".utf8)
        }
    }

    /// NAME_MAX of every file system.
    private static let nameBytesLimit = 255

    private static func isPlain(_ word: String) -> Bool {
        !word.isEmpty
            && word.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "/-=._:,@+".utf8.contains(byte)
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
                for byte in UTF8.encode(scalar)! {
                    escaped.append(contentsOf: ["\\", "x", hexadecimal[Int(byte >> 4)], hexadecimal[Int(byte & 15)]])
                }
            default: escaped.append(scalar)
            }
        }
        return String(escaped)
    }
}
