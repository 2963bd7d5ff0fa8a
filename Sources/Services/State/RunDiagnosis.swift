/// What the journal tells of a run that has failed: read once, when the service has failed for good.
public final class RunDiagnosis: Equatable, Sendable {
    /// When the run began that this is about.
    public let startedAt: Timestamp?
    /// What systemd wrote when it could not set up the process: "Failed at step USER spawning …: No such process".
    public let setUpFailure: String?
    /// The last line that the run wrote to standard error.
    public let lastErrorLine: String?
    /// The PATH that systemd gives to services.
    public let systemPath: String

    public init(startedAt: Timestamp?, setUpFailure: String?, lastErrorLine: String?, systemPath: String) {
        self.startedAt = startedAt
        self.setUpFailure = setUpFailure
        self.lastErrorLine = lastErrorLine
        self.systemPath = systemPath
    }

    public static func == (left: RunDiagnosis, right: RunDiagnosis) -> Bool {
        left.startedAt == right.startedAt && left.setUpFailure == right.setUpFailure
            && left.lastErrorLine == right.lastErrorLine && left.systemPath == right.systemPath
    }
}
