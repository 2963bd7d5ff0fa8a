/// What the API asks of whoever makes services real. Calls for one service are carried out one after another.
public protocol ServiceControl: Sendable {
    /// Whether it can do its work now.
    var readiness: Readiness { get async }

    /// Figures about everything, for whoever watches many computers. Waits for nobody.
    func measurements() async -> Measurements

    /// All services, by name.
    func list() async throws(ControlError) -> [Service]

    /// What is kept of deleted services, the newest first.
    func listRemoved() async throws(ControlError) -> [RemovedService]

    /// One service, by name or id; ids win.
    func service(_ reference: String) async throws(ControlError) -> Service

    /// The same as ``list()`` and ``service(_:)`` where they need not wait, nil where they may have to. Called on the
    /// control's own executor.
    func listAtOnce() -> [Service]?
    func serviceAtOnce(_ reference: String) throws(ControlError) -> Service?

    /// What the processes of services use now, as the kernel counts it; nothing of a service that has none.
    func usage(of names: [ServiceName]) async -> [ServiceName: ResourceUsage]

    /// The unit file of a service as it is on disk.
    func unitFile(_ reference: String) async throws(ControlError) -> [UInt8]

    /// Writes the unit, enables it for boot and dispatches its start.
    func create(_ spec: ServiceSpec) async throws(ControlError) -> Service

    /// Creates a service, or gives the one of that name another spec and, unless it was stopped, starts it anew.
    /// An equal spec changes nothing.
    func replace(_ spec: ServiceSpec) async throws(ControlError) -> (service: Service, isNew: Bool)

    /// Starts a service that is neither starting nor running, and waits until systemd's job has ended.
    func start(_ reference: String) async throws(ControlError) -> Service

    /// Stops a service that is starting or running, and waits until its last process is gone.
    func stop(_ reference: String) async throws(ControlError) -> Service

    /// Stops a service if need be and starts it, and waits until systemd's job has ended.
    func restart(_ reference: String) async throws(ControlError) -> Service

    /// Stops a service and removes all that it consists of; gives back its name.
    func delete(_ reference: String, by requester: Requester) async throws(ControlError) -> ServiceName

    /// Waits until a service is ready (its port accepts a connection; without a port, its process has lived a second)
    /// or has ended, which its status tells. Throws `waitTimeout` when neither happens in time.
    func waitUntilReady(_ reference: String, within timeout: Duration) async throws(ControlError) -> Service

    /// Begins to read the log of a service, by name or id; by id also of one that was removed. Throws `badCursor` and
    /// `bootNotFound` for a query that means nothing here.
    func readLog(_ reference: String, _ query: LogQuery) async throws(ControlError) -> any LogReading

    /// Begins to read the events: after the event that `position` names where that is still known, else from a
    /// snapshot.
    func readEvents(after position: EventPosition?) async throws(ControlError) -> any EventReading
}

/// Whether services can be served, and what is wrong with those that cannot.
public struct Readiness: Equatable, Sendable {
    /// Why systemd's word on the services is not known at the moment; nil while it is.
    public let outage: String?
    /// Files that should be records and could not be read; they were set aside.
    public let unreadableRecords: [String]
    /// The state of journald's unit; nil where it is not known. Unless it is active, what services write waits or is
    /// lost.
    public let journalState: ActiveState?

    public init(outage: String?, unreadableRecords: [String], journalState: ActiveState?) {
        self.outage = outage
        self.unreadableRecords = unreadableRecords
        self.journalState = journalState
    }
}
