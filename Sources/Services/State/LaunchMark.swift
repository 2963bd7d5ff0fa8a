/// The launcher's message about a run, in the unit's `StatusText`: why it could not execute the command, or that the
/// output of the run is not recorded. systemd accepts such a message only from the unit's main process, and clears it
/// at the next start.
public final class LaunchMark: Equatable, Sendable {
    /// The step that failed: `Failure.Step` in the module Launch.
    public enum Step: String, CaseIterable, Sendable {
        case credential
        case pipe
        case directory
        case environmentFile = "env-file"
        case search
        case command
        case interpreter
        case lineEnd = "line-end"
        case loader
        case format
        /// journald could not be reached. The run goes on.
        case journal
    }

    public let step: Step
    /// The number of the error: errno(3).
    public let code: Int
    /// The message of the error: strerror(3).
    public let reason: String
    /// The path, or the name, that the step is about.
    public let subject: String
    /// The PATH that was searched for the command.
    public let path: String?

    /// "launch: STEP CODE (REASON): SUBJECT", with " PATH=…" behind it for ``Step/search``. Nil for any other text.
    public init?(statusText: String) {
        // The main process of a service may send any text.
        let text = PrintableText.of(statusText)
        let prefix = "launch: "
        guard text.utf8.starts(with: prefix.utf8) else { return nil }
        let words = text.dropFirst(prefix.count).split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard words.count == 3, let step = Step(rawValue: String(words[0])), let code = Int(words[1]),
            words[2].utf8.first == UInt8(ascii: "("), let end = Self.range(of: "): ", in: words[2])
        else { return nil }
        self.step = step
        self.code = code
        reason = String(words[2][..<end.lowerBound].dropFirst())
        let rest = words[2][end.upperBound...]
        // A command that is searched in PATH has no space: it is the first word of a command line without shell syntax.
        if step == .search, let end = Self.range(of: " PATH=", in: rest) {
            subject = String(rest[..<end.lowerBound])
            path = String(rest[end.upperBound...])
        } else {
            subject = String(rest)
            path = nil
        }
    }

    public static func == (left: LaunchMark, right: LaunchMark) -> Bool {
        left.step == right.step && left.code == right.code && left.reason == right.reason
            && left.subject == right.subject && left.path == right.path
    }

    /// The first occurrence of a text in another one.
    private static func range(of text: String, in other: Substring) -> Range<Substring.Index>? {
        let bytes = Array(text.utf8)
        let view = other.utf8
        var start = view.startIndex
        while start != view.endIndex {
            if view[start...].starts(with: bytes) { return start..<view.index(start, offsetBy: bytes.count) }
            start = view.index(after: start)
        }
        return nil
    }

    /// Whether the command was not executed.
    public var isFailure: Bool { step != .journal }
}

extension LaunchMark {
    private enum Code {
        static let noEntry = 2
        static let notPermitted = 1
        static let isDirectory = 21
        static let invalid = 22
        static let tooLarge = 27
        static let badMessage = 74
        static let accessDenied = 13
        static let notDirectory = 20
        static let loop = 40
    }

    /// The sentence for a person: what was found, then what to do.
    var sentence: String {
        switch (step, code) {
        case (.directory, Code.noEntry): "working directory '\(subject)' does not exist: create it or change cwd"
        case (.directory, Code.accessDenied):
            "working directory '\(subject)' cannot be entered by the service's account (permission denied)"
        case (.directory, Code.notDirectory):
            "working directory '\(subject)' is no directory, or a part of the path is none"
        case (.directory, Code.loop): "working directory '\(subject)' is a loop of symbolic links"
        case (.directory, _): "working directory '\(subject)' cannot be entered: \(error)"
        case (.environmentFile, Code.noEntry): "env_file '\(subject)' does not exist: create it or change env_file"
        case (.environmentFile, Code.accessDenied), (.environmentFile, Code.notPermitted):
            "env_file '\(subject)' cannot be read by the service's account (permission denied)"
        case (.environmentFile, Code.isDirectory), (.environmentFile, Code.invalid):
            "env_file '\(subject)' is no file"
        case (.environmentFile, Code.notDirectory):
            "env_file '\(subject)' does not exist: a part of the path is no directory"
        case (.environmentFile, Code.tooLarge): "env_file '\(subject)' is larger than 1 MiB"
        case (.environmentFile, Code.badMessage): "env_file '\(subject)' has a NUL byte: it is no text file"
        case (.environmentFile, _): "env_file '\(subject)' cannot be read: \(error)"
        case (.search, Code.noEntry): "the command '\(subject)' was not found; PATH was \(path ?? "not set")"
        case (.search, _), (.command, Code.accessDenied):
            "the command '\(subject)' cannot be executed by the service's account (permission denied): make it an"
                + " executable file (chmod +x) and let the account reach it"
        case (.command, Code.noEntry): "the command '\(subject)' does not exist"
        case (.command, Code.notDirectory):
            "the command '\(subject)' does not exist: a part of the path is no directory"
        case (.command, Code.loop): "the command '\(subject)' is a loop of symbolic links"
        case (.command, _): "the command '\(subject)' cannot be executed: \(error)"
        case (.interpreter, Code.noEntry):
            "the command's interpreter '\(subject)', which its first line names, does not exist"
        case (.interpreter, _): "the command's interpreter '\(subject)' cannot be executed: \(error)"
        case (.lineEnd, _):
            "the first line of '\(subject)' ends with CR LF, so that its interpreter is not found: save the file with"
                + " LF line ends"
        case (.loader, _): "'\(subject)' needs a dynamic loader that does not exist: it was built for another system"
        case (.format, _): "'\(subject)' is a program for another kind of machine (\(error))"
        case (.credential, _): "the launcher cannot read the service's credential: \(error)"
        case (.pipe, _): "the pipes for standard output and error cannot be made: \(error)"
        case (.journal, _):
            "the output of this run is discarded, because journald could not be reached when it began (\(error)); the"
                + " next run tries again"
        }
    }

    private var error: String { "\(reason), errno \(code)" }
}
