/// The reasons that the journal has for a failed run: read once, when systemd does not restart the service any more.
public final class RunDiagnosis: Equatable, Sendable {
    /// The run that this is about.
    public let invocationID: String?
    /// Whether systemd did not go on with the service when the reasons were looked up. Else systemd may have given up
    /// since.
    public let isFinal: Bool
    /// What systemd wrote when it could not set up the process: "Failed at step USER spawning …: No such process".
    public let setUpFailure: String?
    /// The last line that the run wrote to standard error.
    public let lastErrorLine: String?
    /// The PATH of the service, with "~" for the account's home directory.
    public let path: String
    /// What holds the port of the service, where that is another unit: "the service 'web'".
    public let portHolder: String?
    /// Which memory limit was exceeded, if the kernel's log tells.
    public let outOfMemory: OutOfMemory?
    /// Whether systemd has refused a start because of the start limit (StartLimitBurst=).
    public let hasGivenUp: Bool
    /// The control process (ExecStartPre=, ExecStopPost= …) that has failed, for a run that did not fail itself.
    public let failedStep: FailedStep?

    /// Which memory limit caused the OOM kill, by the kernel's log.
    public enum OutOfMemory: Equatable, Sendable {
        /// The service's own limit: `MemoryMax=` or the like. With the figures of the kernel's log.
        case serviceLimit(MemoryFigures? = nil)
        /// The limit of a slice above, by its name.
        case sliceLimit(String)
        case machine
    }

    /// What the kernel's log says of a cgroup that has reached its limit, in KiB.
    public struct MemoryFigures: Equatable, Sendable {
        public var usage: Int
        public var limit: Int

        public init(usage: Int, limit: Int) {
            self.usage = usage
            self.limit = limit
        }

        /// From the line `memory: usage 102400kB, limit 102400kB, failcnt 36`; nil for any other.
        public init?(kernelMessage message: String) {
            let words = message.split(separator: " ")
            guard words.count >= 5, words[0] == "memory:", words[1] == "usage", words[3] == "limit",
                let usage = Self.kibibytes(words[2]), let limit = Self.kibibytes(words[4])
            else { return nil }
            self.init(usage: usage, limit: limit)
        }

        private static func kibibytes(_ word: Substring) -> Int? {
            guard word.hasSuffix("kB,") else { return nil }
            return Int(word.dropLast(3))
        }
    }

    /// "Control process exited": sd-messages(3).
    public struct FailedStep: Equatable, Sendable {
        /// The setting: "ExecStartPre".
        public var setting: String
        public var ending: RunEnding
        /// The field of the spec, with the place of the command in it: "pre_start[0]". Nil for a command that is not of
        /// the spec.
        public var field: String?

        public init(setting: String, ending: RunEnding, field: String? = nil) {
            self.setting = setting
            self.ending = ending
            self.field = field
        }
    }

    /// The evidence about a run. `errorLines` are the last lines of standard error, the newest last.
    public struct Evidence: Equatable, Sendable {
        public var setUpFailure: String?
        public var errorLines: [String] = []
        public var portHolder: String?
        public var outOfMemory: OutOfMemory?
        public var hasGivenUp = false
        public var failedStep: FailedStep?

        public init() {}
    }

    /// Longer texts are cut, and control characters in them replaced: they come from programs.
    public static let textLengthLimit = 300

    /// `systemPath` is the PATH that systemd gives to services.
    public init(of record: ServiceRecord, _ evidence: Evidence, systemPath: String, isFinal: Bool = true) {
        self.isFinal = isFinal
        let user = record.spec.user
        invocationID = record.run.invocationID
        setUpFailure = evidence.setUpFailure.map(Self.cut)
        // Other lines may follow the one that names a carriage return.
        let lines = evidence.errorLines
        lastErrorLine = (lines.last(where: Self.namesCarriageReturn) ?? lines.last).map(Self.cut)
        portHolder = evidence.portHolder.map(Self.cut)
        outOfMemory = evidence.outOfMemory
        hasGivenUp = evidence.hasGivenUp
        failedStep = evidence.failedStep
        path = Self.cut(
            record.spec.environment["PATH"] ?? "~\(user)/.local/bin:~\(user)/bin:\(systemPath):/snap/bin"
        )
    }

    private init(_ other: RunDiagnosis, portHolder: String?) {
        invocationID = other.invocationID
        isFinal = other.isFinal
        setUpFailure = other.setUpFailure
        lastErrorLine = other.lastErrorLine
        path = other.path
        self.portHolder = portHolder
        outOfMemory = other.outOfMemory
        hasGivenUp = other.hasGivenUp
        failedStep = other.failedStep
    }

    /// The same with a port holder that is not named, if there is one.
    public func withoutPortHolder() -> RunDiagnosis {
        RunDiagnosis(self, portHolder: portHolder.map { _ in "another process" })
    }

    /// Whether a line is env(1)'s error for a program whose name ends with a carriage return: "env: 'python3\r': No
    /// such file or directory".
    static func namesCarriageReturn(_ line: String) -> Bool {
        let words = line.split(separator: " ")
        return words.contains { $0.dropLast(2).hasSuffix("\\r") && $0.hasSuffix(":") } && line.hasSuffix("directory")
    }

    private static func cut(_ text: String) -> String {
        let text = PrintableText.of(text)
        return text.count > textLengthLimit ? "\(text.prefix(textLengthLimit))…" : text
    }

    public static func == (left: RunDiagnosis, right: RunDiagnosis) -> Bool {
        left.invocationID == right.invocationID && left.isFinal == right.isFinal
            && left.setUpFailure == right.setUpFailure
            && left.lastErrorLine == right.lastErrorLine && left.path == right.path
            && left.portHolder == right.portHolder && left.outOfMemory == right.outOfMemory
            && left.hasGivenUp == right.hasGivenUp && left.failedStep == right.failedStep
    }
}
