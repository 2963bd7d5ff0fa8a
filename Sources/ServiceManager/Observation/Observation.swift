internal import Services
internal import Systemd

/// The observed state: what systemd, the kernel and the journal tell of the units.
@EventLoopActor
final class Observation {
    private let services: ServiceTable
    private let desired: DesiredState
    private let systemd: SystemdClient
    private let connectivity: Connectivity
    private let operations: KeyedSerialQueue<ServiceName>
    private let diagnosis: Diagnosis
    private let runs: Runs
    private let announcements: Announcements
    private let messages: MessageLog
    private let bootID: String
    private let invocationDirectory: String
    private var launches: LaunchWatch?
    private var unitFiles: UnitFileObserver?
    private var crashLoops: CrashLoops?
    /// Nil if systemd sends signals when a unit is frozen.
    private var freezers: FreezerWatch?
    /// The first version of systemd that sends a signal when a unit is frozen or thawed.
    private static let versionWithFreezerSignals = 256
    /// Services that systemd reported since the connection was made.
    private var reported: Set<ServiceName> = []

    init(
        _ services: ServiceTable,
        _ desired: DesiredState,
        _ systemd: SystemdClient,
        _ connectivity: Connectivity,
        _ operations: KeyedSerialQueue<ServiceName>,
        _ diagnosis: Diagnosis,
        _ runs: Runs,
        _ announcements: Announcements,
        _ messages: MessageLog,
        _ layout: StateLayout,
        bootID: String,
        invocationDirectory: String,
        processDirectory: String
    ) {
        self.services = services
        self.desired = desired
        self.systemd = systemd
        self.connectivity = connectivity
        self.operations = operations
        self.diagnosis = diagnosis
        self.runs = runs
        self.announcements = announcements
        self.messages = messages
        self.bootID = bootID
        self.invocationDirectory = invocationDirectory
        launches = LaunchWatch(processDirectory: processDirectory) { [weak self] in self?.launched($0) }
        unitFiles = UnitFileObserver(layout, desired.units) { [weak self] in self?.unitFilesChanged($0) }
        operations.quiet = { [weak self] in self?.lookAtTouchedFiles(of: $0) }
        crashLoops = CrashLoops(
            isRunning: { services[$0]?.snapshot.status == .running },
            ended: { [weak self] in self?.forgetCrashLoop(of: $0) }
        )
    }

    // MARK: At the start of the agent

    /// Watches the directories of unit files, and looks for acts by hand. Throws when inotify_init1(2) fails.
    func start() throws(SystemError) {
        try unitFiles?.start()
        for (name, service) in services.entries
        where service.record.phase == .established && !desired.isUnwritten(name) {
            lookAtUnitFiles(of: name)
            guard services[name]?.remarks.unitFiles != nil, let drift = services[name]?.snapshot.drift else { continue }
            messages.notice(.warning, drift.sentence, name)
        }
        estimateStates()
    }

    /// Estimates the states from the cgroups before systemd has reported them: at boot it can be busy for long.
    private func estimateStates() {
        let groups = ControlGroups.current().slice(UnitFile.slice)
        for name in services.names {
            let pids = groups.pids(of: UnitName.cgroup(of: name))
            services.change(name) { $0.estimate(pids) }
        }
    }

    // MARK: What systemd says

    /// Reads everything over a new connection, while its signals arrive. True when the states are known; else the
    /// connection is made again.
    func read() async -> Bool {
        reported = []
        do throws(BusError) {
            // Without the directory there is no cache, and every state is read from systemd.
            let cache = try? StateCache(
                Dictionary(uniqueKeysWithValues: services.entries.map { ($0.name, $0.service.record.run) }),
                bootID: bootID,
                invocationsIn: invocationDirectory
            )
            try await systemd.readVersion()
            if freezers == nil, systemd.version < Self.versionWithFreezerSignals {
                freezers = FreezerWatch { [weak self] in self?.systemd.noticeFreezing(of: $0, isFrozen: $1) }
            }
            try await systemd.readStates { name, unit in cache?.state(of: name, unit) }
            // Optional: services work without journald.
            try? await systemd.readJournalState()
            // Round trip (Ping): the pings of held-back states (`applyLater`) were sent earlier and are answered
            // before it.
            try await systemd.roundTrip()
            if isAnyEndUnknown {
                await JournalSync.synchronize(within: Logs.journalPatience)
                // The connection may have been lost meanwhile.
                try await systemd.roundTrip()
            }
        } catch {
            messages.notice(.warning, "cannot read the states of the units: \(error); connecting again")
            systemd.reconnect()
            return false
        }
        for (name, service) in services.entries {
            if !reported.contains(name) { services.change(name) { $0.apply(UnitState()) } }
            guard service.state.activeState == .unknown || !connectivity.hasBeenReady else { continue }
            // Replaces the estimate: a dead service that was stopped on request has the intent to stop.
            let isDead = services[name]?.state.activeState.isDead ?? true
            guard service.intent != .start else { continue }
            services.change(name) { $0.intent = isDead && !service.record.isToRun ? .stop : .none }
        }
        for name in reported.subtracting(services.names) {
            messages.notice(.warning, "systemd has a unit of that name, and there is no record of it", name)
        }
        for name in services.names { catchUpWithEnding(of: name) }
        return true
    }

    /// Handles a lost connection: signals are missed from now on.
    func suspend() {
        // A run whose end is being looked up is the older one.
        for (name, service) in services.entries where service.runBeforeAbsence == nil {
            services.change(name) { $0.runBeforeAbsence = service.record.run }
        }
    }

    /// Handles a state that systemd reports.
    func unitChanged(_ name: ServiceName, _ state: UnitState) {
        reported.insert(name)
        guard let before = services[name] else { return }
        // Each run can have another cgroup.
        let isOtherProcess = state.mainPID != before.state.mainPID || before.state.activeState == .unknown
        if state.mainPID != nil, isOtherProcess { freezers?.follow(name) }
        if before.endedBefore(state), let end = before.heldBack {
            services.change(name) { $0.apply(end) }
            recordRun(of: name, isFollowed: !state.activeState.isDead)
            announcements.announce(name)
        }
        var state = state
        state.isLaunching = launches?.isLaunching(name, state, after: services[name]?.state ?? before.state) ?? false
        var run = services[name]?.record.run ?? before.record.run
        if let last = run.lastState(before: state) {
            // The end of a run came together with the begin of the next one.
            services.change(name) { $0.observe(last, bootID: bootID) }
            noteEnd(since: run, name)
            run = services[name]?.record.run ?? run
        }
        if before.isStopping(in: state) { runs.willStop(name) }
        let isOtherRun = state.invocationID != run.invocationID
        let dropIns = isOtherRun ? Self.contents(of: before.snapshot.dropIns) : []
        services.change(name) { $0.observe(state, bootID: bootID, dropIns) }
        noteEnd(since: run, name)
        recordFormerRun(run, before, state, name)
        guard let service = services[name] else { return }
        // Else it is written when the end of the run before is known.
        if service.record.run != run, service.runBeforeAbsence == nil { desired.noteRun(name) }
        if service.isBetweenStopAndStart(in: state, hasJob: systemd.hasJob(name)) {
            services.change(name) { $0.heldBack = state }
        } else if service.mayRestartItself(from: state) {
            services.change(name) { $0.heldBack = state }
            applyLater(name, state, service.generation)
        } else {
            services.change(name) { $0.apply(state) }
        }
        applied(name)
    }

    /// Counts an end that may be one of a crash loop, and looks up one that no signal has reported.
    private func noteEnd(since run: ServiceRun, _ name: ServiceName) {
        guard let service = services[name] else { return }
        if service.isUnexpectedEnd(since: run), let ends = crashLoops?.count(name, service.record.spec.restartLimit) {
            services.change(name) { service in
                service.remarks.crashLoop = CrashLoop(ends: ends, diagnosis: service.remarks.crashLoop?.diagnosis)
            }
        }
        guard service.record.run.startedAt != run.startedAt else { return }
        crashLoops?.restarted(name)
        // The connection was there all the time.
        guard !run.hasEnded, service.runBeforeAbsence == nil, connectivity.isReady, run.startedAt != nil else { return }
        services.change(name) { $0.runBeforeAbsence = run }
        EventLoop.start { [weak self] in
            await JournalSync.synchronize(within: Logs.journalPatience)
            // After a lost connection the states are read again, and then the end is looked up.
            guard let self, connectivity.isReady else { return }
            catchUpWithEnding(of: name)
        }
    }

    /// The drop-ins of a unit with hashes of their contents.
    private static func contents(of paths: [String]) -> [RunConditions.DropIn] {
        paths.map { path in
            let name = path.split(separator: "/").last.map { String($0) } ?? ""
            let directory = try? Directory(String(path.dropLast(name.utf8.count + 1)))
            // One that cannot be read has no content for systemd either.
            let content = try? directory?.read(name, limitBytes: dropInBytesLimit)
            return RunConditions.DropIn(path: path, hash: FNV1a.hash(content ?? []))
        }
    }

    /// The size of the largest drop-in whose changes are noticed.
    private static let dropInBytesLimit = 1024 * 1024

    // MARK: Records of runs

    /// Records the end of a run behind which another one has begun.
    private func recordFormerRun(
        _ run: ServiceRun,
        _ before: ManagedService,
        _ state: UnitState,
        _ name: ServiceName
    ) {
        guard let service = services[name], service.runBeforeAbsence == nil, !run.isRecorded, run.hasEnded,
            service.record.run.invocationID != run.invocationID
        else { return }
        let isRestarted = state.restarts > run.restarts
        let request = isRestarted ? nil : before.request(for: run) ?? (run.wasStopped ? .restart : nil)
        runs.ended(service, run, at: nil, isRestarted: isRestarted, request)
    }

    /// Records the end of the newest run, if systemd has reported what follows it. `isFollowed`: another run begins.
    private func recordRun(of name: ServiceName, isFollowed: Bool = false) {
        guard let service = services[name], service.heldBack == nil, service.runBeforeAbsence == nil else { return }
        let run = service.record.run
        let isOver = service.state.activeState.isDead || service.state.isAutoRestarting
        // A start job shows the new invocation id before the first state of the run.
        guard isOver, run.hasMainProcess || service.state.isAutoRestarting || !systemd.hasJob(name), !run.isRecorded,
            run.hasEnded || !run.hasMainProcess,
            run.invocationID == service.state.invocationID
        else { return }
        let isRestarted = service.state.isAutoRestarting
        let request = service.request(for: run) ?? (run.wasStopped && isFollowed ? .restart : nil)
        runs.ended(service, run, at: service.state, isRestarted: isRestarted, request)
    }

    /// Handles a newly applied state.
    private func applied(_ name: ServiceName) {
        recordRun(of: name)
        if let service = services[name], service.heldBack == nil, service.state.activeState.isDead {
            crashLoops?.forget(name)
            services.change(name) { $0.remarks.crashLoop = nil }
            if !systemd.hasJob(name) { runs.notRestarted(service) }
        }
        announcements.announce(name)
        diagnosis.begin(of: name)
        desired.tell(name)
    }

    /// Handles that the main process of a service has executed the command.
    private func launched(_ name: ServiceName) {
        guard let service = services[name], service.state.isLaunching, service.heldBack == nil else { return }
        var state = service.state
        state.isLaunching = false
        services.change(name) { $0.apply(state) }
        announcements.announce(name)
        desired.tell(name)
    }

    /// Applies a held-back dead state after a round trip (Ping): D-Bus keeps order, so the signals of an automatic
    /// restart, which systemd sends together with it, have been handled by then.
    private func applyLater(_ name: ServiceName, _ state: UnitState, _ generation: Int) {
        EventLoop.start { [weak self] in
            // After a lost connection all states are read again.
            try? await self?.systemd.roundTrip()
            guard let self, services[name]?.generation == generation else { return }
            services.change(name) { $0.apply(state) }
            applied(name)
        }
    }

    // MARK: Ends that no signal has reported

    /// Whether the end of a run is to be looked up whose entry journald may not have written yet. All entries of an
    /// earlier boot are written.
    private var isAnyEndUnknown: Bool {
        services.entries.contains { entry in
            guard let run = entry.service.runBeforeAbsence else { return false }
            return entry.service.isEndUnknown && run.bootID == bootID
                || entry.service.hasMissedRuns(since: run, bootID: bootID)
        }
    }

    /// Looks up in the journal how a run has ended whose end systemd does not report any more: the unit was unloaded or
    /// started again. Without an entry the end stays unknown.
    private func catchUpWithEnding(of name: ServiceName) {
        guard let service = services[name], let run = service.runBeforeAbsence else { return }
        services.change(name) { $0.runBeforeAbsence = nil }
        defer {
            recordRun(of: name)
            if let found = services[name]?.record.run, found != run { desired.save(name) }
        }
        guard service.isEndUnknown || service.hasMissedRuns(since: run, bootID: bootID) else {
            return recordMissedRuns(since: run, [], name)
        }
        let isKnown = service.isKnown(run)
        var history: RunHistory?
        do throws(SystemError) {
            if let invocationID = run.invocationID {
                let current = isKnown ? nil : service.state.invocationID
                history = try RunHistory(of: service.unit, since: invocationID, before: current)
            }
        } catch {
            messages.notice(.warning, "cannot read in the journal how the last run ended: \(error)", name)
        }
        defer { recordMissedRuns(since: run, history?.runs ?? [], name) }
        guard service.isEndUnknown else { return }
        let end = history?.end
        services.change(name) { current in
            if isKnown {
                current.record.run.wasStopped = end?.wasStopped ?? false
            } else if let end {
                current.record.run.observe(end, before: service.state)
            } else if !service.record.run.hasEnded, service.state.main.startedAt == nil {
                current.record.run.loseEnd()
            }
            current.countExit(since: service.record.run)
        }
    }

    /// Records the runs that have ended while no signal was received, and behind which another one has begun or systemd
    /// has forgotten the unit.
    private func recordMissedRuns(since run: ServiceRun, _ found: [RunHistory.Run], _ name: ServiceName) {
        guard let service = services[name], service.state.invocationID != run.invocationID else { return }
        let isDead = service.state.invocationID == nil
        var missed: [ServiceRun] = []
        if !run.isRecorded, run.invocationID != nil {
            var former = run
            if !run.hasEnded {
                former.loseEnd()
                if let own = found.first(where: { $0.invocationID == run.invocationID }) { former.apply(own) }
            }
            missed.append(former)
        }
        let known = [run.invocationID, service.state.invocationID]
        for other in found where !known.contains(other.invocationID) {
            var former = ServiceRun()
            former.apply(other)
            missed.append(former)
        }
        for (index, former) in missed.enumerated() {
            let isFollowed = former.bootID == bootID && !(index == missed.count - 1 && isDead)
            let isBeginKnown = former.invocationID == run.invocationID
            runs.missed(service, former, isFollowed: isFollowed, isBeginKnown: isBeginKnown)
        }
    }

    // MARK: Ports

    /// Notes whether the newest run counts as ready without certainty that its port is its own.
    func noteUncertainPort(of name: ServiceName, _ isUncertain: Bool) {
        guard let service = services[name] else { return }
        services.change(name) { $0.remarks.uncertainPortRun = isUncertain ? service.record.run.invocationID : nil }
        announcements.announce(name)
    }

    // MARK: Crash loops

    /// Drops a service that is deleted.
    func forget(_ name: ServiceName) { crashLoops?.forget(name) }

    func forgetCrashLoop(of name: ServiceName) {
        crashLoops?.forget(name)
        guard services[name]?.remarks.crashLoop != nil else { return }
        services.change(name) { $0.remarks.crashLoop = nil }
        announcements.announce(name)
    }

    // MARK: Unit files

    /// systemd has reloaded its unit files.
    func reloaded() { unitFiles?.systemdHasReloaded() }

    private func unitFilesChanged(_ scope: UnitFileObserver.Scope) {
        switch scope {
        case .services(let names):
            for name in names where services[name] != nil {
                // During an operation the files are only partly written.
                if operations.isBusy(name) { unitFiles?.lookLater(name) } else { lookAtUnitFiles(of: name) }
            }
        case .everything:
            for (name, service) in services.entries {
                if operations.isBusy(name) {
                    unitFiles?.lookLater(name)
                } else if unitFiles?.differs(service.remarks.unitFiles, service.record) ?? false {
                    lookAtUnitFiles(of: name)
                }
            }
        }
    }

    /// Checks the files of a service that were touched during an operation, which has ended.
    private func lookAtTouchedFiles(of name: ServiceName) {
        if unitFiles?.isToBeLooked(at: name) ?? false { lookAtUnitFiles(of: name) }
    }

    /// Compares the unit's files with the record.
    private func lookAtUnitFiles(of name: ServiceName) {
        guard let service = services[name], service.record.phase != .deleting else { return }
        let findings = unitFiles?.findings(of: service.record)
        services.change(name) { $0.remarks.unitFiles = findings }
        guard services[name]?.remarks != service.remarks else { return }
        announcements.announce(name)
        desired.tell(name)
    }

    /// The same, only for a service whose files differed before.
    func findDrift(of name: ServiceName) {
        if services[name]?.remarks.unitFiles != nil { lookAtUnitFiles(of: name) }
    }
}

extension ServiceRun {
    /// The state at the end of this run, where a state of the next one has it: the main process in it is still this
    /// run's.
    fileprivate func lastState(before state: UnitState) -> UnitState? {
        guard invocationID != nil, state.invocationID != invocationID, !hasEnded, startedAt != nil,
            state.main.startedAt == startedAt, let ending = state.main.ending
        else { return nil }
        var last = state
        last.invocationID = invocationID
        (last.activeState, last.mainPID, last.restarts) = (.inactive, nil, restarts)
        switch ending {
        case .exited(0): last.result = "success"
        case .exited: last.result = "exit-code"
        case .killed: last.result = wasStopped ? "success" : "signal"
        }
        return last
    }

    /// Takes what the journal tells of a run.
    fileprivate mutating func apply(_ found: RunHistory.Run) {
        invocationID = found.invocationID
        bootID = found.bootID ?? bootID
        startedAt = startedAt ?? found.startedAt
        exitedAt = found.endedAt
        ending = found.ending
        result = found.result
        wasStopped = found.wasStopped
        hasMainProcess = found.hasMainProcess
    }
}

extension ManagedService {
    /// Whether runs may have begun and ended while no signal was received.
    fileprivate func hasMissedRuns(since run: ServiceRun, bootID: String) -> Bool {
        guard let newest = state.invocationID, run.invocationID != nil else { return false }
        // After a boot the first run is not a missed one.
        return newest != run.invocationID && (run.bootID == bootID || state.restarts > 0)
    }

    /// Whether a new state is the first one of a stop.
    fileprivate func isStopping(in newState: UnitState) -> Bool {
        newState.activeState == .deactivating && state.activeState != .deactivating
    }

    /// The request that has ended a run.
    fileprivate func request(for run: ServiceRun) -> EndedRun.Request? {
        switch record.phase {
        case .starting where record.replacedRun == run.invocationID: .restart
        case .stopping, .deleting: .stop
        case .starting, .established: intent == .stop ? .stop : nil
        }
    }

    /// Whether the state that systemd reports is of this run.
    fileprivate func isKnown(_ run: ServiceRun) -> Bool { state.main.startedAt == run.startedAt }

    /// Whether only the journal tells how the run before the absence has ended: systemd has forgotten the run, or
    /// reports its end, and not whether a stop job caused it.
    fileprivate var isEndUnknown: Bool {
        guard let run = runBeforeAbsence, run.startedAt != nil, !run.hasEnded else { return false }
        guard isKnown(run) else { return true }
        return state.activeState.isDead && record.isToRun && record.phase == .established
    }
}
