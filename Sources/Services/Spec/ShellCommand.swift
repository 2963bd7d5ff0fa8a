/// The shell of a command line.
public enum Shell: String, CaseIterable, Sendable {
    case sh
    case bash
    /// A login shell of bash: it reads /etc/profile and the account's profile.
    case login

    /// The words that run a command line.
    func words(for command: String) -> [String] {
        switch self {
        case .sh: ["/bin/sh", "-c", command]
        case .bash: ["/bin/bash", "-c", command]
        case .login: ["/bin/bash", "-l", "-c", command]
        }
    }
}

/// A service's command line as the words that are executed.
public enum ShellCommand {
    /// The words for execve(2): those of the command itself where a shell would have nothing to do but to start a
    /// program, else a shell with the command byte for byte. A login shell prepares the environment of every command.
    public static func words(for command: String, in shell: Shell) -> [String] {
        guard shell != .login, isPlainProgram(command) else { return shell.words(for: command) }
        return command.split(whereSeparator: { $0 == " " || $0 == "\t" }).map { String($0) }
    }

    /// Whether the main process is the program and no shell in the end: a plain program, or a command line whose last
    /// command is `exec` with a program.
    public static func becomesProgram(_ command: String) -> Bool {
        isPlainProgram(command) || lastCommand(of: command).hasPrefix("exec ")
    }

    /// The text after the last separator of commands that is not quoted: POSIX.1-2024, Shell Command Language, 2.9.
    private static func lastCommand(of command: String) -> Substring {
        var begin = command.startIndex
        var quote: Character?
        var isEscaped = false
        for index in command.indices {
            let character = command[index]
            if isEscaped {
                isEscaped = false
            } else if character == "\\", quote != "'" {
                isEscaped = true
            } else if let open = quote {
                if character == open { quote = nil }
            } else if character == "'" || character == "\"" {
                quote = character
            } else if ";&|\n(){}".contains(character),
                !command[command.index(after: index)...].allSatisfy(\.isWhitespace)
            {
                begin = command.index(after: index)
            }
        }
        return command[begin...].drop(while: \.isWhitespace)
    }

    /// Whether the command is the name of a program and words that the shell passes on as they are.
    public static func isPlainProgram(_ command: String) -> Bool {
        guard command.utf8.allSatisfy(isPlain) else { return false }
        guard let program = command.split(whereSeparator: { $0 == " " || $0 == "\t" }).first else { return false }
        // The first word is no assignment, no option, and no word that the shell takes for its own.
        return !program.utf8.contains(UInt8(ascii: "="))
            && program.utf8.first != UInt8(ascii: "-")
            && !shellWords.contains(String(program))
    }

    /// Bytes that mean themselves everywhere in an unquoted command line (POSIX.1-2024, Shell Command Language, 2.2).
    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: " \t_-./:=,@%+".utf8.contains(byte)
        }
    }

    /// Reserved words and built-ins of dash and bash: what the shell would run itself.
    private static let shellWords: Set<String> = [
        ".", ":", "alias", "bg", "bind", "break", "builtin", "caller", "case", "cd", "chdir", "command", "compgen",
        "complete", "compopt", "continue", "coproc", "declare", "dirs", "disown", "do", "done", "echo", "elif", "else",
        "enable", "esac", "eval", "exec", "exit", "export", "false", "fc", "fg", "fi", "for", "function", "getopts",
        "hash", "help", "history", "if", "in", "jobs", "kill", "let", "local", "logout", "mapfile", "popd", "printf",
        "pushd", "pwd", "read", "readarray", "readonly", "return", "select", "set", "shift", "shopt", "source",
        "suspend", "test", "then", "time", "times", "trap", "true", "type", "typeset", "ulimit", "umask", "unalias",
        "unset", "until", "wait", "while",
    ]
}
