import Testing

@testable import Services

@Suite struct ShellCommandTests {
    @Test(arguments: [
        "server", "/usr/bin/server", "./server", "server --port=8080 -v", "python3 -m http.server 8080", "a\tb",
        "  server", "server  a   b ", "node app.js user@host:/path a,b 50%", "../x +y", "printf2 x", "echoes", "7z x",
        "server echo", "server A=b", "server - --",
    ])
    func `a program with plain words is run without a shell`(command: String) {
        #expect(ShellCommand.isPlainProgram(command))
        let words = command.split { " \t".contains($0) }.map(String.init)
        #expect(ShellCommand.words(for: command, in: .sh) == words)
    }

    @Test(arguments: [
        // Syntax.
        "a; b", "a && b", "a || b", "a | b", "a &", "a > f", "a < f", "(a)", "{ a; }", "! a", "a # b", "a\nb",
        "server\n",
        // Quotes and expansions.
        "a 'b'", "a \"b\"", "a \\b", "a $B", "a ${B}", "a $(b)", "a `b`", "a ~", "~/a", "a *", "a ?", "a [b]",
        "a {b,c}",
        "[ -f x ]", "a^b",
        // Assignments.
        "A=b", "A=b server", "A= server", "./a=b c",
        // Options of exec.
        "-c server", "-a x", "--",
        // What is no ASCII or no text.
        "sérver", "a \u{A0}b", "a\u{1}", "a\rb", "a\u{0B}b", "日本",
        // Nothing.
        "", " ", "\t",
    ])
    func `anything else is the shell's`(command: String) {
        #expect(!ShellCommand.isPlainProgram(command))
        #expect(ShellCommand.words(for: command, in: .sh) == ["/bin/sh", "-c", command])
    }

    @Test(arguments: [
        ".", ":", "alias", "bg", "break", "case", "cd", "chdir", "command", "continue", "do", "done", "echo", "elif",
        "else", "esac", "eval", "exec", "exit", "export", "false", "fc", "fg", "fi", "for", "getopts", "hash", "if",
        "in",
        "jobs", "kill", "local", "printf", "pwd", "read", "readonly", "return", "set", "shift", "test", "then", "times",
        "trap", "true", "type", "ulimit", "umask", "unalias", "unset", "until", "wait", "while",
        // bash alone.
        "bind", "builtin", "caller", "compgen", "complete", "compopt", "coproc", "declare", "dirs", "disown", "enable",
        "function", "help", "history", "let", "logout", "mapfile", "popd", "pushd", "readarray", "select", "shopt",
        "source", "suspend", "time", "typeset",
    ])
    func `a word that the shell runs itself is the shell's`(word: String) {
        for command in [word, "\(word) x", "  \(word)\tx"] { #expect(!ShellCommand.isPlainProgram(command)) }
        #expect(ShellCommand.isPlainProgram("/bin/\(word)2"))
    }

    @Test func `the machine's shell runs none of the plain words itself`() throws {
        let builtins = try Tool.run("/bin/bash", ["-c", "compgen -b; compgen -k"])
        #expect(builtins.status == 0)
        let words = builtins.output.split(separator: "\n").map(String.init)
        #expect(words.count > 70)
        for word in words { #expect(!ShellCommand.isPlainProgram(word), "\(word)") }
    }
}
