/// Figures about the services and about systemd's work for them, as they are at one moment.
public struct Measurements: Equatable, Sendable {
    /// Whether systemd's word on the services is known at the moment.
    public var isReady: Bool
    /// Whether journald's unit is active; nil where that is not known.
    public var isJournalActive: Bool?
    /// All services, by name.
    public var services: [ServiceMeasurements]
    /// How long calls of systemd's methods took, by the method's name. The names are few and fixed.
    public var systemdCalls: [String: DurationHistogram]
    /// How often the agent had systemd read its unit files anew.
    public var reloads: Int

    public init(
        isReady: Bool,
        isJournalActive: Bool? = nil,
        services: [ServiceMeasurements],
        systemdCalls: [String: DurationHistogram],
        reloads: Int
    ) {
        self.isReady = isReady
        self.isJournalActive = isJournalActive
        self.services = services
        self.systemdCalls = systemdCalls
        self.reloads = reloads
    }
}

/// Figures about one service.
public struct ServiceMeasurements: Equatable, Sendable {
    public var name: ServiceName
    /// Nil while systemd's word on it is not known.
    public var status: ServiceStatus?
    /// systemd's NRestarts.
    public var restarts: Int
    /// How the runs ended whose end this agent has learned of, each with how often.
    public var exits: [RunEnding: Int]
    /// Whether the output of the present run is discarded, because there was no journald when it began.
    public var isOutputDiscarded: Bool
    public var usage: ResourceUsage

    public init(
        name: ServiceName,
        status: ServiceStatus?,
        restarts: Int,
        exits: [RunEnding: Int],
        isOutputDiscarded: Bool = false,
        usage: ResourceUsage
    ) {
        self.name = name
        self.status = status
        self.restarts = restarts
        self.exits = exits
        self.isOutputDiscarded = isOutputDiscarded
        self.usage = usage
    }
}

/// What the processes of a service use, as the kernel counts it. Nil is what the kernel does not count here, and all of
/// it for a service that has no process.
public struct ResourceUsage: Equatable, Sendable {
    /// Time on the processors since the run began.
    public var cpu: Duration?
    public var memoryBytes: Int?
    /// Processes and threads.
    public var tasks: Int?
    public var io: IO?

    public init() {}

    /// Transfers from and to block devices since the run began.
    public struct IO: Equatable, Sendable {
        public var readBytes = 0
        public var writtenBytes = 0
        public var reads = 0
        public var writes = 0

        public init() {}
    }
}
