/// Metrics of the services and of the agent's calls of systemd, at one moment.
public struct Measurements: Equatable, Sendable {
    /// Whether the states of the services are known: systemd is connected and has reported them.
    public var isReady: Bool
    /// Whether journald's unit is active; nil where that is not known.
    public var isJournalActive: Bool?
    /// All services, by name.
    public var services: [ServiceMeasurements]
    /// Durations of D-Bus calls to systemd, by method name. The names are few and fixed.
    public var systemdCalls: [String: DurationHistogram]
    /// The number of reloads of systemd by the agent.
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

/// Metrics of one service.
public struct ServiceMeasurements: Equatable, Sendable {
    public var name: ServiceName
    /// Nil while the state of the service is not known.
    public var status: ServiceStatus?
    /// systemd's NRestarts.
    public var restarts: Int
    /// The number of run ends that this agent has observed, by kind of end.
    public var exits: [RunEnding: Int]
    /// Whether the output of the present run is discarded, because journald was not reachable when it began.
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

/// The resource usage of a service's processes, counted by the kernel. A value is nil if the kernel does not count it
/// here; all are nil for a service without processes.
public struct ResourceUsage: Equatable, Sendable {
    /// CPU time since the run began.
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
