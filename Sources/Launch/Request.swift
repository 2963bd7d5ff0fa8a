internal import CLaunch

/// The parsed arguments.
struct Request {
    enum Mode {
        /// Directory and command are arguments.
        case arguments
        /// Directory, environment and command are in the credential `launch`: text that systemd cannot carry.
        case credential
        /// Writes the rest of the last run's pipes to the journal.
        case drain
        /// Copies the content of the pipes to the journal.
        case relay
    }

    private(set) var mode = Mode.arguments
    /// Whether standard output and error are to be pipes, which can be opened as /dev/stdout and /dev/stderr.
    private(set) var isStdioPiped = false
    /// The SYSLOG_IDENTIFIER of the service's lines in the journal.
    private(set) var identifier: CString
    /// DIRECTORY COMMAND [ARGUMENT]…
    private(set) var words: Words
    /// All arguments, for ``keeps(_:)``.
    private let arguments: Words

    /// The path of the launcher itself.
    let launcher: CString

    /// Nil when the arguments are wrong.
    init?(_ arguments: Words) {
        guard let launcher = arguments.first else { return nil }
        self.launcher = launcher
        self.arguments = arguments
        var words = arguments.dropFirst()
        while let word = words.first, isPrefix("--", of: word) {
            if strcmp(word, "--credential") == 0 {
                mode = .credential
            } else if strcmp(word, "--drain") == 0 {
                mode = .drain
            } else if strcmp(word, "--relay") == 0 {
                mode = .relay
            } else if strcmp(word, "--stdio=pipe") == 0 {
                isStdioPiped = true
            } else if !isPrefix("--keep=", of: word) {
                return nil
            }
            words = words.dropFirst()
        }
        guard mode != .relay else {
            identifier = ("" as StaticString).cString
            self.words = words
            return
        }
        guard let identifier = words.first else { return nil }
        self.identifier = identifier
        self.words = words.dropFirst()
        switch mode {
        case .arguments: guard self.words.count >= 2 else { return nil }
        case .credential, .drain, .relay: guard self.words.count == 0 else { return nil }
        }
    }

    /// Whether the service's own environment sets the variable, so that it is passed on unchanged.
    func keeps(_ name: StaticString) -> Bool {
        var words = arguments.dropFirst()
        while let word = words.first, isPrefix("--", of: word) {
            if isPrefix("--keep=", of: word), strcmp(word + 7, name.cString) == 0 { return true }
            words = words.dropFirst()
        }
        return false
    }
}
