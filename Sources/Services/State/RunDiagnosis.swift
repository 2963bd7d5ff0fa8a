/// What the journal tells of a run that has failed: read once, when the service has failed for good.
public final class RunDiagnosis: Equatable, Sendable {
    /// When the run began that this is about.
    public let startedAt: Timestamp?
    /// What systemd wrote when it could not set up the process: "Failed at step USER spawning …: No such process".
    public let setUpFailure: String?
    /// The last line that the run wrote to standard error.
    public let lastErrorLine: String?
    /// The PATH of the service, with "~" for the account's home directory.
    public let path: String

    /// The texts of longer lines are cut, and control characters in them replaced: they come from programs.
    public static let textLengthLimit = 300

    /// What was found of a service: `errorLines` are the last lines that the run wrote to standard error, the newest
    /// last, and `systemPath` is the PATH that systemd gives to services.
    public init(of record: ServiceRecord, setUpFailure: String?, errorLines: [String], systemPath: String) {
        let user = record.spec.user
        startedAt = record.run.startedAt
        self.setUpFailure = setUpFailure.map(Self.cut)
        // More may follow the line that names a carriage return.
        lastErrorLine = (errorLines.last(where: Self.namesCarriageReturn) ?? errorLines.last).map(Self.cut)
        path = Self.cut(
            record.spec.environment["PATH"] ?? "~\(user)/.local/bin:~\(user)/bin:\(systemPath):/snap/bin"
        )
    }

    /// Whether env(1) has written a line of a program that it did not find because its name ends with a carriage
    /// return: "env: 'python3\r': No such file or directory".
    static func namesCarriageReturn(_ line: String) -> Bool {
        let words = line.split(separator: " ")
        return words.contains { $0.dropLast(2).hasSuffix("\\r") && $0.hasSuffix(":") } && line.hasSuffix("directory")
    }

    private static func cut(_ text: String) -> String {
        let text = PrintableText.of(text)
        return text.count > textLengthLimit ? "\(text.prefix(textLengthLimit))…" : text
    }

    public static func == (left: RunDiagnosis, right: RunDiagnosis) -> Bool {
        left.startedAt == right.startedAt && left.setUpFailure == right.setUpFailure
            && left.lastErrorLine == right.lastErrorLine && left.path == right.path
    }
}
