internal import Services
internal import Systemd

/// The owner of the records of ended runs that are not written yet.
@EventLoopActor
final class Runs {
    /// A run whose record is to be written.
    private final class Draft {
        let name: ServiceName
        /// The id of the service: another one may get its name.
        let id: String
        var run: EndedRun
        let hasMainProcess: Bool
        var request: EndedRun.Request?
        var evidence = EndedRun.Evidence()
        /// Whether the figures and the cause are looked up.
        var isComplete = false

        init(_ name: ServiceName, id: String, _ run: EndedRun, hasMainProcess: Bool) {
            self.name = name
            self.id = id
            self.run = run
            self.hasMainProcess = hasMainProcess
        }
    }

    private let services: ServiceTable
    private let desired: DesiredState
    private let systemd: SystemdClient
    private let ports: PortOwners
    private let announcements: Announcements
    private let messages: MessageLog
    private let bootID: String
    /// In the order of the ends; the first one is being written.
    private var drafts: [Draft] = []
    private var isWriting = false
    private var retry: Timer?
    private var retryDelay = Runs.retryDelays.lowerBound
    /// The figures of runs that are being stopped: systemd unloads some units at once when they have stopped.
    private var figures: [ServiceName: SystemdClient.RunFigures] = [:]

    private static let retryDelays = Duration.seconds(1)...Duration.seconds(60)
    /// How long journald may take to write the entries about an end.
    private static let journalPatience = Duration.seconds(5)

    /// Throws when a timer cannot be made.
    init(
        _ services: ServiceTable,
        _ desired: DesiredState,
        _ systemd: SystemdClient,
        _ ports: PortOwners,
        _ announcements: Announcements,
        _ messages: MessageLog,
        bootID: String
    ) throws(SystemError) {
        self.services = services
        self.desired = desired
        self.systemd = systemd
        self.ports = ports
        self.announcements = announcements
        self.messages = messages
        self.bootID = bootID
        retry = try Timer { [weak self] in self?.write() }
    }

    // MARK: What has ended

    /// Notes what a run has used that is about to be stopped.
    func willStop(_ name: ServiceName) {
        // The deletion removes the records.
        guard let phase = services[name]?.record.phase, phase != .deleting else { return }
        let usage = ControlGroups.current().slice(UnitFile.slice).lastUsage(of: UnitName.cgroup(of: name))
        figures[name] = SystemdClient.RunFigures(
            cpuMilliseconds: usage.cpu.map { Int($0 / .milliseconds(1)) },
            memoryPeak: usage.memoryPeak
        )
    }

    /// Makes a record of a run whose end has been observed. `state` is the one at the end; nil when another run has
    /// begun since.
    func ended(
        _ service: ManagedService,
        _ run: ServiceRun,
        at state: UnitState?,
        isRestarted: Bool,
        _ request: EndedRun.Request?
    ) {
        let name = service.record.spec.name
        let own = figures.removeValue(forKey: name)
        guard service.record.phase != .deleting else { return }
        let now = Timestamp(microseconds: WallClock.now().microseconds)
        let draft = Draft(
            name,
            id: service.record.id,
            EndedRun(run, isRestarted: isRestarted, now: now),
            hasMainProcess: run.hasMainProcess
        )
        draft.request = request
        draft.evidence.isSetUpFailure = state?.launchMark?.isFailure ?? false
        draft.run.clockOffset = Int(now.microseconds) - Int(MonotonicClock.sinceBoot() / .microseconds(1))
        draft.run.cpuMilliseconds = own?.cpuMilliseconds
        draft.run.memoryPeak = own?.memoryPeak
        // At once: the owner of the port may go.
        if case .exited(1...) = run.ending, request == nil { draft.run.portHolder = ports.holder(of: service.snapshot) }
        add(draft, run)
        EventLoop.start { [weak self] in
            await self?.complete(draft, wasStopped: run.wasStopped)
            self?.write()
        }
    }

    /// Makes a record of a run whose end was not observed. `isFollowed`: another run has begun in the same boot.
    func missed(_ service: ManagedService, _ run: ServiceRun, isFollowed: Bool) {
        var record = EndedRun(run, isRestarted: isFollowed && !run.wasStopped, now: Timestamp(microseconds: 0))
        if !run.hasMainProcess { record.endedAt = run.exitedAt }
        let draft = Draft(service.record.spec.name, id: service.record.id, record, hasMainProcess: run.hasMainProcess)
        if run.wasStopped { draft.request = isFollowed ? .restart : .stop }
        // With its end unknown, or stopped while the agent did not run any more.
        if run.bootID != bootID, run.wasStopped || run.ending == nil { draft.request = .powerOff }
        add(draft, run)
        EventLoop.start { [weak self] in
            await self?.lookUpCause(of: draft)
            draft.isComplete = true
            self?.write()
        }
    }

    private func add(_ draft: Draft, _ run: ServiceRun) {
        drafts.append(draft)
        services.change(draft.name) { service in
            if service.unrecordedRun == nil { service.unrecordedRun = run }
            if service.record.run.invocationID == run.invocationID { service.record.run.isRecorded = true }
        }
        // While the disk hangs.
        let own = drafts.indices.filter { drafts[$0].id == draft.id }
        if own.count > EndedRun.countLimit, let oldest = own.dropFirst(isWriting ? 1 : 0).first {
            drafts.remove(at: oldest)
        }
    }

    // MARK: What is looked up

    private func complete(_ draft: Draft, wasStopped: Bool) async {
        if draft.request == nil, wasStopped {
            draft.request = .stop
            if let isShuttingDown = try? await systemd.isShuttingDown(), isShuttingDown { draft.request = .powerOff }
        }
        if let id = draft.run.invocationID,
            // Without an answer they are not known.
            let figures = try? await systemd.figures(of: UnitName.unit(of: draft.name), id)
        {
            draft.run.cpuMilliseconds = figures.cpuMilliseconds ?? draft.run.cpuMilliseconds
            draft.run.memoryPeak = figures.memoryPeak ?? draft.run.memoryPeak
        }
        await lookUpCause(of: draft)
        draft.isComplete = true
    }

    /// Looks up in the journal what systemd's properties do not tell.
    private func lookUpCause(of draft: Draft) async {
        let run = draft.run
        var isSetUp = false
        // systemd's own exit codes: systemd.exec(5), "Process Exit Codes".
        if case .exited(200...) = run.ending { isSetUp = !draft.evidence.isSetUpFailure }
        if draft.request == nil, run.result == "oom-kill" || isSetUp {
            await JournalSync.synchronize(within: Self.journalPatience)
            do throws(SystemError) {
                if run.result == "oom-kill" { draft.evidence.outOfMemory = try FailureReport.outOfMemory(draft.name) }
                if isSetUp, let id = run.invocationID?.filter({ $0 != "-" }) {
                    draft.evidence.isSetUpFailure = try FailureReport.setUpFailure(draft.name, id) != nil
                }
            } catch {
                messages.notice(.warning, "cannot read in the journal why the run has ended: \(error)", draft.name)
            }
        }
        draft.run.conclude(draft.request, draft.evidence, hasMainProcess: draft.hasMainProcess)
    }

    // MARK: Writing

    private func write() {
        guard !isWriting, drafts.first?.isComplete ?? false else { return }
        isWriting = true
        EventLoop.start { [weak self] in await self?.writeAll() }
    }

    private func writeAll() async {
        defer { isWriting = false }
        while let draft = drafts.first, draft.isComplete {
            do throws(SystemError) {
                if isWanted(draft) {
                    try await write(draft)
                    retryDelay = Self.retryDelays.lowerBound
                }
            } catch {
                messages.notice(.error, "cannot write the record of a run; it is tried again: \(error)", draft.name)
                retry?.arm(after: retryDelay)
                retryDelay = min(retryDelay * 2, Self.retryDelays.upperBound)
                return
            }
            drafts.removeFirst()
            recorded(draft)
        }
    }

    private func write(_ draft: Draft) async throws(SystemError) {
        let earlier = try await read(draft.id)
        // An agent that died had written it.
        if let id = draft.run.invocationID, let run = earlier.last(where: { $0.invocationID == id }) {
            draft.run.number = run.number
            return
        }
        draft.run.number = (earlier.last?.number ?? 0) + 1
        // Before the removal of the records, not behind it.
        guard isWanted(draft) else { return }
        var changes = FileChanges()
        desired.runs.write(draft.run, of: draft.id, into: &changes)
        if let error = await desired.disk.begin(changes).wait().error { throw error }
        announcements.announce(draft.run, of: draft.name)
    }

    /// Whether the service exists and is not being deleted.
    private func isWanted(_ draft: Draft) -> Bool {
        guard let record = services[draft.name]?.record else { return false }
        return record.id == draft.id && record.phase != .deleting
    }

    private func recorded(_ draft: Draft) {
        guard isWanted(draft), !drafts.contains(where: { $0.id == draft.id }) else { return }
        services.change(draft.name) { $0.unrecordedRun = nil }
        desired.save(draft.name)
    }

    // MARK: Reading

    /// The records of a service, the oldest first. Throws when they cannot be read.
    private func read(_ id: String, within patience: Duration? = nil) async throws(SystemError) -> [EndedRun] {
        var changes = FileChanges()
        desired.runs.read(id, into: &changes)
        let work = desired.disk.begin(changes)
        var result: FileResult?
        if let patience { result = await work.wait(atMost: patience) } else { result = await work.wait() }
        guard let result else { throw .timedOut }
        if let error = result.error {
            guard error.isNotFound else { throw error }
            return []
        }
        return RunStore.records(in: result.bytes)
    }

    /// The newest records of a service, the oldest first. Throws when the disk does not answer in time.
    func list(of id: String) async throws(ControlError) -> [EndedRun] {
        do throws(SystemError) {
            return try await read(id, within: desired.diskPatience)
        } catch {
            throw ControlError(error)
        }
    }
}
