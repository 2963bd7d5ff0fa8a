public import Services
public import Systemd

/// The service manager: writes records and unit files, controls units through systemd, and tracks their states.
///
/// Status requests are answered from memory, which systemd's signals keep up to date; no request waits for systemd. The
/// operations are in `Lifecycle/`, this file holds the state.
@EventLoopActor
public final class Supervisor {
    /// The settings of the supervisor.
    public struct Configuration: Sendable {
        public var layout: StateLayout
        /// The manager's private socket.
        public var systemdSocket = "/run/systemd/private"
        /// Where systemd publishes the invocation id of each unit.
        public var invocationDirectory = "/run/systemd/units"
        /// The id of this boot.
        public var bootID: Identifier
        /// The maximum number of services.
        public var servicesLimit = 4096
        /// The time-out of the wait for a job. A job ends within the unit's stop time-out, or twice that for a start
        /// that stops first; a longer one means that systemd is in trouble.
        public var jobTimeout = Duration.seconds(60)
        /// How long a request that needs systemd waits for a starting agent: at boot systemd starts all services before
        /// it answers.
        public var startPatience = Duration.seconds(20)
        /// How long an operation waits for the disk.
        public var diskPatience = Duration.seconds(5)
        /// The PATH that systemd gives to services.
        public var systemPath = "systemd's own"

        public init(layout: StateLayout, bootID: Identifier) {
            self.layout = layout
            self.bootID = bootID
        }
    }

    let configuration: Configuration
    let records: RecordStore
    let units: UnitDirectory
    let removed: RemovedStore
    let systemd: SystemdClient
    let disk = Disk.shared
    let bootID: String
    private let report: @EventLoopActor (LogMessage) -> Void
    private let statusChanged: @EventLoopActor (Summary) -> Void

    /// Why the states of the units are not known; nil while they are.
    public internal(set) var outage: String? = "the agent is starting"
    let services = ServiceTable()
    let changes = Changes()
    let operations = KeyedSerialQueue<ServiceName>()
    let events = EventLog()
    let journalNews = JournalNews()
    let openStreams = OpenStreams()
    /// The retry timers of services whose last attempt has failed.
    var retries: [ServiceName: Retry] = [:]
    /// The number of services in creation that are not in the table yet.
    var additions = 0
    /// The times of recent removals.
    var removals: [ServiceName: MonotonicClock] = [:]
    /// Whether the states of all units have been known once.
    var hasBeenReady = false
    /// Files of records that could not be read.
    var unreadableRecords: [String] = []
    private var launches: LaunchWatch?
    private(set) var unitFiles: UnitFileObserver?
    private(set) var crashLoops: CrashLoops?
    /// Nil if systemd sends signals when a unit is frozen.
    private var freezers: FreezerWatch?
    /// The first version of systemd that sends a signal when a unit is frozen or thawed.
    private static let versionWithFreezerSignals = 256
    /// Services whose failure is to be diagnosed; the first one is in progress.
    var undiagnosed: [ServiceName] = []
    var isDiagnosing = false
    /// Services that systemd reported since the connection was made.
    private var reported: Set<ServiceName> = []
    private var recordWriter: RecordWriter?
    /// Set in the initializer.
    var writer: RecordWriter { recordWriter! }
    private var summary: Summary?

    /// The numbers of services, for a status line.
    public struct Summary: Equatable, Sendable {
        public var services = 0
        public var running = 0
        public var failed = 0
    }

    /// `report` gets messages for the log; `statusChanged` gets the numbers of services after each change of one.
    /// Throws when an event source cannot be made.
    public init(
        _ configuration: Configuration,
        report: @escaping @EventLoopActor (LogMessage) -> Void,
        statusChanged: @escaping @EventLoopActor (Summary) -> Void
    ) throws(SystemError) {
        self.configuration = configuration
        self.report = report
        self.statusChanged = statusChanged
        records = RecordStore(configuration.layout)
        units = UnitDirectory(configuration.layout)
        removed = RemovedStore(configuration.layout)
        systemd = SystemdClient(socketPath: configuration.systemdSocket)
        bootID = configuration.bootID.description
        launches = LaunchWatch { [weak self] in self?.launched($0) }
        unitFiles = UnitFileObserver(configuration.layout, units) { [weak self] in self?.unitFilesChanged($0) }
        operations.quiet = { [weak self] in self?.lookAtTouchedFiles(of: $0) }
        crashLoops = CrashLoops(
            isRunning: { [weak self] in self?.services[$0]?.snapshot.status == .running },
            ended: { [weak self] in self?.forgetCrashLoop(of: $0) }
        )
        recordWriter = try RecordWriter(
            records,
            units,
            removed,
            disk,
            RecordWriter.Owner(
                record: { [weak self] in self?.services[$0]?.record },
                isBusy: { [weak self] in self?.operations.isBusy ?? false },
                written: { [weak self] in self?.noPendingWrite(of: $0) },
                settled: { [weak self] in self?.countServices() },
                failed: { [weak self] in self?.notice(.error, $0) }
            )
        )
    }

    /// Reads the records, repairs what an interrupted operation left, and connects to systemd. `isReady` becomes true
    /// when the states are known; it is no error when systemd is not reachable. Throws when a directory cannot be read
    /// or written.
    public func start() throws(SystemError) {
        try units.prepare()
        try records.prepare()
        try removed.prepare()
        try units.removeTemporaries()
        let (loaded, unreadable, marked) = try records.load()
        for file in unreadable { notice(.error, "cannot read the record '\(file.file)': \(file.reason)") }
        unreadableRecords = try records.unreadableFiles(unreadable.map(\.file))
        try unitFiles?.start()
        for record in loaded { adopt(record) }
        for name in marked { writeLater(name, because: nil) }
        estimateStates()
        try systemd.start(
            SystemdClient.Observer(
                connected: { [weak self] in self?.connected() },
                disconnected: { [weak self] in self?.disconnected() },
                reloaded: { [weak self] in self?.unitFiles?.systemdHasReloaded() },
                unitChanged: { [weak self] name, state in self?.unitChanged(name, state) }
            )
        )
    }

    /// Estimates the states from the cgroups before systemd has reported them: at boot it can be busy for long.
    private func estimateStates() {
        let groups = ControlGroups.current().slice(UnitFile.slice)
        for (name, service) in services.entries { services[name]?.estimate(groups.pids(of: service.unit)) }
    }

    /// The version and the start time of systemd; nil while it is not reachable.
    public func describeSystemd() async -> (version: String?, startedAt: Timestamp?)? {
        // An error means unknown.
        try? await systemd.describe()
    }

    /// Whether the states of the units are known and up to date.
    public var isReady: Bool { outage == nil }

    /// Writes outstanding changes to disk. Called last, before the process exits.
    public func finish() { writer.finish() }

    func notice(_ severity: LogMessage.Severity, _ text: String, _ service: ServiceName? = nil) {
        report(LogMessage(severity: severity, text: text, service: service?.description))
    }

    private func adopt(_ stored: ServiceRecord) {
        var record = stored
        record.lacksFiles = false
        let name = record.spec.name
        services.insert(ManagedService(record))
        guard record.phase != .deleting else { return }
        guard record.phase == .established, !stored.lacksFiles else {
            // The operation was interrupted, or had no room for the files.
            writeNow(name) { self.units.write(record, into: &$0) }
            if stored.lacksFiles { save(name) }
            return
        }
        writeNow(name) { self.units.writeEnvironment(of: record, into: &$0) }
        // Changes by a person are shown and not undone.
        lookAtUnitFiles(of: name)
        guard services[name]?.remarks.unitFiles != nil, let drift = services[name]?.snapshot.drift else { return }
        notice(.warning, drift.sentence, name)
    }

    /// Writes synchronously, before the loop runs.
    private func writeNow(_ name: ServiceName, _ change: (inout FileChanges) -> Void) {
        var changes = FileChanges()
        change(&changes)
        changes.synchronize()
        do throws(SystemError) {
            try disk.performNow(changes)
        } catch {
            notice(.error, "cannot write what was asked for; it is tried again: \(error)", name)
            writeLater(name, because: PendingChange.Reason(error))
        }
    }

    func forgetCrashLoop(of name: ServiceName) {
        crashLoops?.forget(name)
        guard services[name]?.remarks.crashLoop != nil else { return }
        services[name]?.remarks.crashLoop = nil
        announce(name)
    }

    // MARK: What systemd says

    private func connected() {
        reported = []
        EventLoop.start { [weak self] in await self?.readEverything() }
    }

    private func readEverything() async {
        do throws(BusError) {
            // Without the directory there is no cache, and every state is read from systemd.
            let cache = try? StateCache(
                Dictionary(uniqueKeysWithValues: services.entries.map { ($0.name, $0.service.record.run) }),
                bootID: bootID,
                invocationsIn: configuration.invocationDirectory
            )
            if freezers == nil, try await systemd.versionNumber() ?? 0 < Self.versionWithFreezerSignals {
                freezers = FreezerWatch { [weak self] in self?.systemd.noticeFreezing(of: $0, isFrozen: $1) }
            }
            try await systemd.readStates { name, unit in cache?.state(of: name, unit) }
            // Optional: services work without journald.
            try? await systemd.readJournalState()
            // Round trip (Ping): the pings of held-back states (`settleLater`) were sent earlier and are answered
            // before it.
            try await systemd.settle()
        } catch {
            notice(.warning, "cannot read the states of the units: \(error); connecting again")
            systemd.reconnect()
            return
        }
        for (name, service) in services.entries {
            if !reported.contains(name) { services[name]?.settle(UnitState()) }
            guard service.state.activeState == .unknown || !hasBeenReady else { continue }
            // Replaces the estimate: a dead service that was stopped on request has the intent to stop.
            let isDead = services[name]?.state.activeState.isDead ?? true
            if service.intent != .start { services[name]?.intent = isDead && !service.record.isEnabled ? .stop : .none }
        }
        followStarts()
        for name in reported.subtracting(services.names) {
            notice(.warning, "systemd has a unit of that name, and there is no record of it", name)
        }
        catchUpWithEndings()
        convergeOutstanding()
        outage = nil
        announceAll()
        for name in services.names { diagnoseFailure(of: name) }
        changes.tellReadiness()
        countServices()
        writer.changed()
    }

    private func disconnected() {
        guard isReady else { return }
        outage = "the connection to systemd is lost"
        for (name, service) in services.entries { services[name]?.runBeforeAbsence = service.record.run }
        notice(.warning, "the connection to systemd is lost; connecting again")
    }

    private func unitChanged(_ name: ServiceName, _ state: UnitState) {
        reported.insert(name)
        guard var service = services[name] else { return }
        // Each run can have another cgroup.
        let isOtherProcess = state.mainPID != service.state.mainPID || service.state.activeState == .unknown
        if state.mainPID != nil, isOtherProcess { freezers?.follow(name) }
        if service.endedBefore(state), let end = service.heldBack {
            service.settle(end)
            services[name] = service
            announce(name)
            service.announced = services[name]?.announced
        }
        service.generation += 1
        var state = state
        state.isLaunching = launches?.isLaunching(name, state, after: service.state) ?? false
        let run = service.record.run
        let isStoppedByHand = service.isStoppedByHand(in: state)
        service.record.run.observe(state, bootID: bootID)
        if service.leavesProcesses(in: state) { service.record.run.leftProcesses = true }
        if isStoppedByHand { service.record.run.wasStopped = true }
        service.countExit(since: run)
        if service.record.run != run { writer.save(name) }
        if service.isUnexpectedEnd(since: run), let ends = crashLoops?.count(name) {
            service.remarks.crashLoop = CrashLoop(ends: ends, diagnosis: service.remarks.crashLoop?.diagnosis)
        }
        if service.record.run.startedAt != run.startedAt {
            crashLoops?.restarted(name)
            if !run.hasEnded, service.runBeforeAbsence == nil { lookUpEnd(of: run, name, &service) }
        }
        if service.mayRestartItself(from: state) {
            service.heldBack = state
            settleLater(name, state, service.generation)
        } else {
            service.settle(state)
        }
        services[name] = service
        settled(name)
    }

    /// Looks up the end of a run in the journal: no signal reported it, although systemd was connected.
    private func lookUpEnd(of run: ServiceRun, _ name: ServiceName, _ service: inout ManagedService) {
        guard isReady, run.startedAt != nil else { return }
        service.runBeforeAbsence = run
        EventLoop.start { [weak self] in self?.catchUpWithEnding(of: name) }
    }

    /// Handles a newly applied state.
    private func settled(_ name: ServiceName) {
        if let service = services[name], service.heldBack == nil, service.state.activeState.isDead {
            crashLoops?.forget(name)
            services[name]?.remarks.crashLoop = nil
        }
        announce(name)
        diagnoseFailure(of: name)
        tell(name)
    }

    /// Handles that the main process of a service has executed the command.
    private func launched(_ name: ServiceName) {
        guard var service = services[name], service.state.isLaunching, service.heldBack == nil else { return }
        var state = service.state
        state.isLaunching = false
        service.settle(state)
        services[name] = service
        announce(name)
        tell(name)
    }

    /// Applies a held-back dead state after a round trip (Ping): D-Bus keeps order, so the signals of an automatic
    /// restart, which systemd sends together with it, have been handled by then.
    private func settleLater(_ name: ServiceName, _ state: UnitState, _ generation: Int) {
        EventLoop.start { [weak self] in
            // After a lost connection all states are read again.
            try? await self?.systemd.settle()
            guard let self, var service = services[name], service.generation == generation else { return }
            service.settle(state)
            services[name] = service
            settled(name)
        }
    }

    // MARK: What follows from a change

    /// Marks the record to be written to disk with the next batch.
    func save(_ name: ServiceName) {
        writer.save(name)
        announce(name)
        writer.changed()
    }

    /// Marks a requested change, whose write has failed, to be retried.
    func writeLater(_ name: ServiceName, because reason: PendingChange.Reason?) {
        writer.writeLater(name)
        if let reason, let record = services[name]?.record {
            services[name]?.remarks.pending = PendingChange(of: record, reason)
        }
        announce(name)
        writer.changed()
    }

    /// Marks a requested change as written to disk.
    func written(_ name: ServiceName) {
        writer.noteWritten(name)
        noPendingWrite(of: name)
    }

    private func noPendingWrite(of name: ServiceName) {
        guard let service = services[name], service.record.phase == .established else { return }
        services[name]?.remarks.pending = nil
        announce(name)
    }

    /// Waits until the states of all services are known, at most for `duration`.
    func nextReadiness(within duration: Duration) async { await changes.nextReadiness(within: duration) }

    /// Waits for the next change of a service, at most for `duration`.
    func nextChange(of name: ServiceName, within duration: Duration) async {
        await changes.next(of: name, within: duration)
    }

    /// Wakes the requests that wait for a change of the service.
    func tell(_ name: ServiceName) {
        changes.tell(name)
        writer.changed()
    }

    private func countServices() {
        var counts = Summary(services: services.count)
        for service in services.values {
            switch service.snapshot.status {
            case .running, .starting: counts.running += 1
            case .failed: counts.failed += 1
            case .stopped, .removed: break
            }
        }
        guard counts != summary, isReady else { return }
        summary = counts
        statusChanged(counts)
    }
}
