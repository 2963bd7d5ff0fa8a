public import JSON

/// The record of a service on disk: the desired state, from which its unit file is derived, and the data of its last
/// run.
public struct ServiceRecord: Equatable, Sendable {
    /// A random UUID.
    public let id: String
    public var spec: ServiceSpec
    public let createdAt: Timestamp
    public var updatedAt: Timestamp
    /// Whether the service is to run: true after create and start, false after a stop. It then starts at boot, too,
    /// unless its spec says otherwise: ``isLinked``.
    public var isToRun: Bool
    /// Whether the service was created without a start, and was not started since.
    public var isUnstarted = false
    public var phase: Phase
    /// The requester of the deletion in progress.
    public var deletedBy: Requester?
    /// The invocation id of the run that the outstanding start replaces; nil if there was no run.
    public var replacedRun: String?
    /// Whether the files of the unit may not be what the record says: they could not be written, or are written after
    /// the record. Set on disk alone: the next agent writes them, and does not take the difference for an act by hand.
    public var lacksFiles = false
    public var run: ServiceRun
    /// The invocation id of a run that goes on with a former spec: a change was made without a restart.
    public var outdatedRun: String?
    /// The fields of the spec that have changed since the newest run began.
    public var changedFields: [String] = []
    /// The members of the record that this version does not know: those of a newer one. They are kept.
    public var unknown = JSONObject()

    /// Whether the service runs unless it has ended by itself.
    public var isExpectedToRun: Bool { isToRun && !isUnstarted }

    /// Whether there is a link that starts the service at boot.
    public var isLinked: Bool { isToRun && spec.isEnabled }

    /// The record as it is written in front of the files of the unit. An outstanding change has the next agent write
    /// them in any case.
    public var writtenFirst: ServiceRecord {
        var record = self
        record.lacksFiles = phase == .established
        return record
    }

    /// A new service, with its start outstanding.
    public init(id: String, spec: ServiceSpec, createdAt: Timestamp) {
        self.id = id
        self.spec = spec
        self.createdAt = createdAt
        updatedAt = createdAt
        isToRun = true
        phase = .starting
        run = ServiceRun()
    }

    /// The change that was requested at `updatedAt` and is not known to be done. It is retried until it is, also by the
    /// next agent.
    public enum Phase: String, Sendable {
        case starting
        case stopping
        /// Never to be started again.
        case deleting
        /// Nothing is outstanding.
        case established
    }

    public init(
        id: String,
        spec: ServiceSpec,
        createdAt: Timestamp,
        updatedAt: Timestamp,
        isToRun: Bool,
        phase: Phase,
        deletedBy: Requester?,
        replacedRun: String?,
        run: ServiceRun
    ) {
        self.id = id
        self.spec = spec
        self.createdAt = createdAt
        self.updatedAt = updatedAt
        self.isToRun = isToRun
        self.phase = phase
        self.deletedBy = deletedBy
        self.replacedRun = replacedRun
        self.run = run
    }
}
