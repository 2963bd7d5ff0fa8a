/// Which lines of a service's log are wanted.
public struct LogQuery: Equatable, Sendable {
    /// How many of the newest lines; nil for all.
    public var tail: Int? = LogQuery.defaultTail
    /// Lines written at this moment or later.
    public var since: Timestamp?
    /// Lines written at this moment or earlier.
    public var until: Timestamp?
    public var boot: Boot?
    /// Whether to go on with the lines that are written from now on.
    public var isFollowing = false
    /// Only what comes after this cursor; `tail` and `since` then mean nothing.
    public var cursor: String?

    public init() {}

    public static let defaultTail = 1000
    /// The most lines that can be asked for by count.
    public static let tailLimit = 1_000_000
    /// The furthest that boots can be counted back.
    public static let bootsBackLimit = 1000

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
    /// Where the line came out of the process.
    public enum Stream: String, Sendable {
        case stdout
        case stderr
    }

    public let timestamp: Timestamp
    public let stream: Stream
    /// The line without its end. What is not UTF-8 has been repaired; lines of more than 48 KiB journald has split.
    public let line: String
    /// The process that opened the stream.
    public let pid: Int?
    /// The line's place in the journal.
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

    /// The next lines, a few at a time; waits for some where they are followed.
    func next() async throws(ControlError) -> LogPiece
}

/// What the reading of a log has come to.
public enum LogPiece: Equatable, Sendable {
    /// At least one line.
    case entries([LogEntry])
    /// For ``StreamLimits/quietTime`` there has been none.
    case quiet
    /// The service was deleted: there is nothing more to come.
    case removed
    /// There is nothing more to come, or nobody waits for it any longer.
    case end
}
