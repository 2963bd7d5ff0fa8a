internal import CLaunch

/// The parsed arguments.
struct Request {
    enum Mode {
        /// Directory and command are arguments.
        case arguments
        /// Directory, environment and commands are in the credential `launch`: text that systemd cannot carry. This is
        /// the number of the command.
        case credential(Int)
        /// Waits before an automatic restart, for at most this long.
        case delay(seconds: Int, limit: Int)
        /// Notes that a run has ended.
        case ended
        /// Writes the rest of the last run's pipes to the journal.
        case drain
        /// Copies the content of the pipes to the journal.
        case relay
    }

    private(set) var mode = Mode.arguments
    /// Whether standard output and error are to be pipes, which can be opened as /dev/stdout and /dev/stderr.
    private(set) var isStdioPiped = false
    /// Whether the process is a control process of the unit, that is not the main one.
    private(set) var isControl = false
    /// Whether the credential is copied for the commands after the end, which newer versions of systemd give none.
    private(set) var keepsCredential = false
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
                mode = .credential(0)
            } else if isPrefix("--credential=", of: word) {
                mode = .credential(Int(atoi(word + 13)))
            } else if isPrefix("--delay=", of: word) {
                let limit = end(of: word, at: UInt8(ascii: ":"))
                guard limit.pointee != 0 else { return nil }
                mode = .delay(seconds: Int(atoi(word + 8)), limit: Int(atoi(limit + 1)))
            } else if strcmp(word, "--ended") == 0 {
                mode = .ended
            } else if strcmp(word, "--drain") == 0 {
                mode = .drain
            } else if strcmp(word, "--relay") == 0 {
                mode = .relay
            } else if strcmp(word, "--stdio=pipe") == 0 {
                isStdioPiped = true
            } else if strcmp(word, "--control") == 0 {
                isControl = true
            } else if strcmp(word, "--keep-credential") == 0 {
                keepsCredential = true
            } else if !isPrefix("--keep=", of: word) {
                return nil
            }
            words = words.dropFirst()
        }
        if case .relay = mode {
            identifier = ("" as StaticString).cString
            self.words = words
            return
        }
        guard let identifier = words.first else { return nil }
        self.identifier = identifier
        self.words = words.dropFirst()
        switch mode {
        case .arguments: guard self.words.count >= 2 else { return nil }
        case .credential, .delay, .ended, .drain, .relay: guard self.words.count == 0 else { return nil }
        }
    }

    /// The service's `RuntimeDirectory=`, /run/IDENTIFIER.
    var runtimeDirectory: CString {
        var path = Buffer(limit: strlen(identifier) + 8)
        path.append("/run/")
        path.append(identifier)
        return path.text
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
