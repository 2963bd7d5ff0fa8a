/// The service manager's interface to the API. Operations on one service run one after another.
public protocol ServiceControl: Sendable {
    /// Whether services can be served now.
    var readiness: Readiness { get async }

    /// The services of an account alone. Must be called on the executor of the control.
    func services(of account: Account) -> any ServiceControl

    /// Metrics of all services. Does not wait for systemd or the disk.
    func measurements() async -> Measurements

    /// Whether the states of the services are known. Must be called on the executor of the control.
    var areStatesKnown: Bool { get }

    /// Waits a moment until they are, as after a restart of systemd. An agent that starts goes on without. Throws
    /// `systemdUnavailable`.
    func awaitStates() async throws(ControlError)

    /// All services, by name, as they are known. Must be called on the executor of the control.
    func list() throws(ControlError) -> [Service]

    /// The audit records of deleted services, the newest first. Throws when they cannot be read.
    func listRemoved() async throws(ControlError) -> [RemovedService]

    /// One service, by name or id; the id wins. Throws `serviceNotFound`. Must be called on the control's executor.
    func service(_ reference: String) throws(ControlError) -> Service

    /// The present resource usage of services, counted by the kernel; no entry for a service without processes.
    func usage(of names: [ServiceName]) async -> [ServiceName: ResourceUsage]

    /// The records of the ended runs of a service, the newest first. Throws `serviceNotFound`, or a storage error.
    func runs(of reference: String) async throws(ControlError) -> [EndedRun]

    /// One of these with its log and what differs from the run before. Throws `runNotFound` as well.
    func run(_ number: Int, of reference: String) async throws(ControlError) -> RunDetails

    /// The content of a service's unit file on disk. Throws `serviceNotFound`, or a storage error.
    func unitFile(_ reference: String) async throws(ControlError) -> [UInt8]

    /// The text of the unit file that a spec would have, for the service of an id; nil for a new one. Throws
    /// `unsupported`.
    func unitText(of spec: ServiceSpec, id: String?) async throws(ControlError) -> String

    /// Writes the unit, enables it for boot and queues its start, unless `starts` is false. Throws `serviceExists`,
    /// `tooManyServices`, and errors of the disk and of systemd.
    func create(_ spec: ServiceSpec, starts: Bool) async throws(ControlError) -> Service

    /// Creates a service, or replaces the spec of the existing one and restarts it where that is necessary, unless it
    /// was stopped or `restarts` is false. An equal spec changes nothing. Throws like ``create(_:starts:)``.
    func replace(_ spec: ServiceSpec, restarts: Bool) async throws(ControlError) -> (service: Service, isNew: Bool)

    /// Replaces the spec of a service by what `change` makes of it when the operation has its turn. Returns nil when
    /// `change` does. Throws `serviceNotFound`, and like ``replace(_:restarts:)``.
    func change(
        _ reference: String,
        restarts: Bool,
        _ change: @Sendable (ServiceSpec) -> ServiceSpec?
    ) async throws(ControlError) -> Service?

    /// Sends a signal to the main process of a service: of that number, or for nil the reload signal of its spec.
    /// Throws `serviceNotRunning` without a main process, and `noReload` without a reload signal.
    func signal(_ reference: String, _ number: Int?) async throws(ControlError) -> Service

    /// Starts a service, and waits until systemd's job has ended. Throws `serviceRunning` for one that is starting or
    /// running.
    func start(_ reference: String) async throws(ControlError) -> Service

    /// Stops a service, and waits until its last process is gone. Throws `serviceNotRunning` for one that is neither
    /// starting nor running.
    func stop(_ reference: String) async throws(ControlError) -> Service

    /// Stops a service if it is running and starts it, and waits until systemd's job has ended.
    func restart(_ reference: String) async throws(ControlError) -> Service

    /// Stops a service and removes its files; returns its name. Throws `preconditionFailed` when `condition` is false
    /// of its spec at that time.
    func delete(
        _ reference: String,
        by requester: Requester,
        if condition: @Sendable (ServiceSpec) -> Bool
    ) async throws(ControlError) -> ServiceName

    /// Waits until a service is in a state or has ended, as its status shows; `log` has the last lines of one that has
    /// failed. Throws `waitTimeout` when neither happens in time.
    func wait(
        for state: AwaitedState,
        of reference: String,
        within timeout: Duration
    ) async throws(ControlError) -> (service: Service, log: [String])

    /// Begins to read the log of a service, by name or id; by id also of a deleted one. Throws `badCursor` and
    /// `bootNotFound` when the query names a position or boot that does not exist, `tooManyStreams`, and
    /// `journalUnavailable`.
    func readLog(_ reference: String, _ query: LogQuery) async throws(ControlError) -> any LogReading

    /// Begins to read the events: after the event at `position` if that is still kept, else from a snapshot. Throws
    /// `tooManyStreams`.
    func readEvents(after position: EventPosition?) async throws(ControlError) -> any EventReading
}

/// The state of a service that a client waits for. A service that has ended ends each wait.
public enum AwaitedState: String, CaseIterable, Sendable {
    /// A process of the service listens on its port; without a port, its main process is one second old.
    case ready
    /// The status `running`.
    case running
    /// The status `stopped` or `failed`.
    case stopped
}

/// Whether services can be served, and the records that cannot be read.
public struct Readiness: Equatable, Sendable {
    /// Why the states of the services are not known; nil while they are.
    public let outage: String?
    /// Files that should be records and could not be read; they were set aside.
    public let unreadableRecords: [String]
    /// The state of journald's unit; nil if unknown. Unless it is active, the output of services waits or is lost.
    public let journalState: ActiveState?
    /// Whether the kernel reports the cgroup of each listening socket. Otherwise a socket of the service's account
    /// counts as the service's.
    public let isPortOwnerKnown: Bool

    public init(
        outage: String?,
        unreadableRecords: [String],
        journalState: ActiveState?,
        isPortOwnerKnown: Bool
    ) {
        self.outage = outage
        self.unreadableRecords = unreadableRecords
        self.journalState = journalState
        self.isPortOwnerKnown = isPortOwnerKnown
    }
}
