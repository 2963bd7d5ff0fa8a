/// Figures about the agent itself, as they are at one moment.
public struct AgentMeasurements: Sendable {
    public var version: String
    public var process = Process()
    public var requests = RequestMetrics()
    public var streams = Streams()
    public var audit = Audit()

    public init(version: String) { self.version = version }

    /// What the agent's process uses; nil is what is not known.
    public struct Process: Equatable, Sendable {
        public var cpu: Duration?
        public var residentBytes: Int?
        /// In seconds since 1970.
        public var startedAtSeconds: Double?
        public var openFiles: Int?
        public var openFilesLimit: Int?

        public init() {}
    }

    /// The responses that have not ended yet, by what they carry.
    public struct Streams: Equatable, Sendable {
        public var logs: Int
        public var events: Int

        public init(logs: Int = 0, events: Int = 0) {
            self.logs = logs
            self.events = events
        }
    }

    /// The entries of the audit that are not on disk.
    public struct Audit: Equatable, Sendable {
        /// Kept in memory until they can be written.
        public var unwritten: Int
        /// Lost, because too many could not be written.
        public var dropped: Int

        public init(unwritten: Int = 0, dropped: Int = 0) {
            self.unwritten = unwritten
            self.dropped = dropped
        }
    }
}
