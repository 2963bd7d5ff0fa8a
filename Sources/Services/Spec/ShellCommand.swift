/// A command line as `/bin/sh -c` gets it.
public enum ShellCommand {
    /// The script for `/bin/sh -c`: the command byte for byte, with `exec` in front where the shell has nothing to do
    /// but start a program. dash never execs by itself, and the service's PID would be the shell's.
    public static func script(for command: String) -> String {
        isPlainProgram(command) ? "exec \(command)" : command
    }

    /// Whether the command is the name of a program and words that the shell passes on as they are.
    static func isPlainProgram(_ command: String) -> Bool {
        guard command.utf8.allSatisfy(isPlain) else { return false }
        guard let program = command.split(whereSeparator: { $0 == " " || $0 == "\t" }).first else { return false }
        // An assignment in the first word, an option to exec itself, or a word that the shell takes for its own.
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
