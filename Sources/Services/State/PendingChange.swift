/// An outstanding change of a service: it was requested and is not reached yet. With the reason for the delay.
public final class PendingChange: Equatable, Sendable {
    public enum Operation: String, CaseIterable, Sendable {
        case start
        case restart
        case stop
        case delete
    }

    public enum Reason: String, CaseIterable, Sendable {
        /// systemd cannot be reached, or does not answer.
        case systemdUnreachable = "systemd-unreachable"
        /// systemd refuses the job.
        case refused
        /// The change is not on disk: the medium is full or read-only.
        case diskFull = "disk-full"
        /// The change is not on disk: the disk does not answer.
        case diskHangs = "disk-hangs"
        /// The change is not on disk, for another reason.
        case diskFailed = "disk-failed"
        /// The running process is that of a former spec: the change was made without a restart.
        case restartNeeded = "restart-needed"
        /// systemd has not ended its job yet; or an earlier process of the agent has begun the change, and this one
        /// resumes it.
        case waiting
    }

    public let operation: Operation
    /// When it was requested.
    public let since: Timestamp
    public let reason: Reason

    public init(_ operation: Operation, since: Timestamp, reason: Reason) {
        self.operation = operation
        self.since = since
        self.reason = reason
    }

    public static func == (left: PendingChange, right: PendingChange) -> Bool {
        left.operation == right.operation && left.since == right.since && left.reason == right.reason
    }
}
