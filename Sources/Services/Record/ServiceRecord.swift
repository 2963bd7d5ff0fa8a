/// What is kept of a service on disk: the desired state, from which its unit file is derived, and the last run's figures.
public struct ServiceRecord: Equatable, Sendable {
    /// A random UUID.
    public let id: String
    public var spec: ServiceSpec
    public let createdAt: Timestamp
    public var updatedAt: Timestamp
    /// Whether the service starts at boot: true after create and start, false after a stop.
    public var isEnabled: Bool
    public var phase: Phase
    public var run: ServiceRun

    public init(id: String, spec: ServiceSpec, createdAt: Timestamp) {
        self.id = id
        self.spec = spec
        self.createdAt = createdAt
        updatedAt = createdAt
        isEnabled = true
        phase = .creating
        run = ServiceRun()
    }

    /// Where the service is in its life; what an agent that was interrupted has to finish.
    public enum Phase: String, Sendable {
        /// Written, but not known to have been started.
        case creating
        case established
        /// Being removed: never to be started again.
        case deleting
    }

    public init(
        id: String,
        spec: ServiceSpec,
        createdAt: Timestamp,
        updatedAt: Timestamp,
        isEnabled: Bool,
        phase: Phase,
        run: ServiceRun
    ) {
        self.id = id
        self.spec = spec
        self.createdAt = createdAt
        self.updatedAt = updatedAt
        self.isEnabled = isEnabled
        self.phase = phase
        self.run = run
    }
}
