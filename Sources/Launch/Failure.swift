internal import CLaunch

/// Why the launcher could not execute the command.
struct Failure {
    /// The step that failed. Its word begins the status message, which the agent converts to a sentence: `LaunchMark`
    /// in the module Services.
    enum Step: CaseIterable {
        /// The credential cannot be read.
        case credential
        /// The pipes for standard output and error cannot be made.
        case pipe
        /// The working directory cannot be entered.
        case directory
        /// A file of environment variables cannot be read.
        case environmentFile
        /// No directory of PATH has the command.
        case search
        /// The command cannot be executed.
        case command
        /// The interpreter that the first line of the command names cannot be executed.
        case interpreter
        /// The first line of the command ends with CR LF, and the CR is parsed as a part of the interpreter's name.
        case lineEnd
        /// The dynamic loader that the program needs is missing.
        case loader
        /// The program is for another kind of machine.
        case format

        var word: StaticString {
            switch self {
            case .credential: "credential"
            case .pipe: "pipe"
            case .directory: "directory"
            case .environmentFile: "env-file"
            case .search: "search"
            case .command: "command"
            case .interpreter: "interpreter"
            case .lineEnd: "line-end"
            case .loader: "loader"
            case .format: "format"
            }
        }
    }

    let step: Step
    let code: CInt
    /// The path, or the name, that the step is about.
    let subject: CString
    /// The PATH that was searched for the command.
    let path: CString?

    init(_ step: Step, _ code: CInt, _ subject: CString = ("" as StaticString).cString, path: CString? = nil) {
        self.step = step
        self.code = code
        self.subject = subject
        self.path = path
    }

    /// Reports the failure to systemd, if there is a notifier, and to the log; returns the exit code.
    func report(to notifier: Notifier?) -> CInt {
        var text = Buffer(limit: Notifier.textLimit)
        text.append("launch: ")
        text.append(step.word)
        text.append(" ")
        text.append(number: code)
        text.append(" (")
        text.append(CString(strerror(code)))
        text.append("): ")
        text.append(printable: subject)
        if let path {
            text.append(" PATH=")
            text.append(printable: path)
        }
        // Frees a descriptor for the socket in case the process is at its limit: setrlimit(2), RLIMIT_NOFILE.
        close(STDIN_FILENO)
        notifier?.send(status: text.text, code)
        text.append("\n")
        _ = text.write(to: STDERR_FILENO)
        return exitCode
    }

    /// The exit code of a shell, or systemd's for a step before the shell would have been started.
    private var exitCode: CInt {
        switch step {
        case .credential: ExitCode.credential
        case .pipe: ExitCode.standardOutput
        case .directory: ExitCode.directory
        case .environmentFile: ExitCode.environmentFile
        case .search: ExitCode.notFound
        case .command, .interpreter, .lineEnd, .loader, .format:
            switch code {
            case ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG: ExitCode.notFound
            default: ExitCode.notExecutable
            }
        }
    }
}
