/// Which lines of a service's log are wanted.
public struct LogQuery: Equatable, Sendable {
    /// How many of the newest lines; nil for all.
    public var tail: Int? = LogQuery.defaultTail
    /// Lines written at this moment or later.
    public var since: Timestamp?
    /// Lines written at this moment or earlier.
    public var until: Timestamp?
    public var boot: Boot?
    /// Nil for all runs.
    public var run: Run?
    /// Whether to go on with the lines that are written from now on.
    public var isFollowing = false
    /// Only lines after this cursor; `tail` and `since` are then ignored.
    public var cursor: String?

    public init() {}

    public static let defaultTail = 1000
    /// The most lines that can be asked for by count.
    public static let tailLimit = 1_000_000
    /// The highest number by which boots can be counted back.
    public static let bootsBackLimit = 1000

    /// One run: without the lines that are known to be of others.
    public struct Run: Equatable, Sendable {
        /// 32 lower-case hexadecimal digits.
        public let invocationID: String
        /// The main processes of other runs. They identify lines that journald has read when their process had ended.
        public let otherProcesses: Set<Int>

        public init(invocationID: String, otherProcesses: Set<Int>) {
            self.invocationID = invocationID
            self.otherProcesses = otherProcesses
        }
    }

    /// A boot of the machine, as journalctl(1) names it.
    public enum Boot: Equatable, Sendable {
        /// 32 lower-case hexadecimal digits.
        case id(String)
        /// 0 is the current boot, 1 the one before.
        case back(Int)
    }
}

/// A line of a service's log.
public struct LogEntry: Equatable, Sendable {
    /// The standard stream of the line.
    public enum Stream: String, Sendable {
        case stdout
        case stderr
    }

    public let timestamp: Timestamp
    public let stream: Stream
    /// The line without its line end. Invalid UTF-8 has been repaired; journald splits lines of more than 48 KiB.
    public let line: String
    /// The process that opened the stream.
    public let pid: Int?
    /// The journal's cursor of the line.
    public let cursor: String

    public init(timestamp: Timestamp, stream: Stream, line: String, pid: Int?, cursor: String) {
        self.timestamp = timestamp
        self.stream = stream
        self.line = line
        self.pid = pid
        self.cursor = cursor
    }
}

/// A service's log that is being read.
public protocol LogReading: Sendable {
    /// The service's id.
    var serviceID: String { get }

    /// The next lines, a few at a time; waits for new lines if the log is followed. Throws `journalUnavailable`.
    func next() async throws(ControlError) -> LogPiece
}

/// The result of one read of a log.
public enum LogPiece: Equatable, Sendable {
    /// At least one line.
    case entries([LogEntry])
    /// No line for ``StreamLimits/quietTime``.
    case quiet
    /// The service was deleted: no more lines will follow.
    case removed
    /// The end of the log, or the read was cancelled.
    case end
}
