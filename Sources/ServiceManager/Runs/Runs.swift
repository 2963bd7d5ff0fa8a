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
        /// Whether it changes a record that is written.
        var isCorrection = false
        var isWriting = false

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
    /// In the order of the ends.
    private var drafts: [Draft] = []
    /// The ids of the services whose records are written later: the file could not be written, or the service is being
    /// deleted.
    private var failing: Set<String> = []
    private var isWriting = false
    private var retry: Timer?
    private var retryDelay = Runs.retryDelays.lowerBound
    /// The figures of runs that are being stopped: systemd unloads some units at once when they have stopped.
    private var figures: [ServiceName: (invocationID: String, figures: SystemdClient.RunFigures)] = [:]

    /// The newest runs of services that systemd is to start again.
    private var restarting: [ServiceName: String] = [:]
    private lazy var groups = ControlGroups.current()

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
        retry = try Timer { [weak self] in self?.writeAgain() }
    }

    // MARK: What has ended

    /// Notes what a run has used that is about to be stopped, or is being stopped.
    func willStop(_ name: ServiceName) {
        // The deletion removes the records.
        guard let service = services[name], service.record.phase != .deleting, !service.state.activeState.isDead,
            let id = service.state.invocationID
        else { return }
        let usage = groups.slice(UnitFile.slice).lastUsage(of: UnitName.cgroup(of: name))
        let former = figures[name].flatMap { $0.invocationID == id ? $0.figures : nil }
        let newest = SystemdClient.RunFigures(
            cpuMilliseconds: usage.cpu.map { Int($0 / .milliseconds(1)) } ?? former?.cpuMilliseconds,
            memoryPeak: usage.memoryPeak ?? former?.memoryPeak
        )
        figures[name] = (id, newest)
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
        let noted = figures.removeValue(forKey: name)
        restarting[name] = isRestarted ? run.invocationID : nil
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
        // Of another run, or of this one and the stop was refused: then the run went on.
        if let noted, noted.invocationID == run.invocationID, request != nil || run.wasStopped {
            draft.run.cpuMilliseconds = noted.figures.cpuMilliseconds
            draft.run.memoryPeak = noted.figures.memoryPeak
        }
        // At once: the owner of the port may go.
        if case .exited(1...) = run.ending, request == nil { draft.run.portHolder = ports.holder(of: service.snapshot) }
        add(draft, run)
        EventLoop.start { [weak self] in
            await self?.complete(draft, wasStopped: run.wasStopped)
            self?.write()
        }
    }

    /// Makes a record of a run whose end was not observed, or not recorded by the agent that observed it. `isFollowed`:
    /// another run has begun in the same boot. `isBeginKnown`: an agent has observed the begin.
    func missed(_ service: ManagedService, _ run: ServiceRun, isFollowed: Bool, isBeginKnown: Bool) {
        var record = EndedRun(run, isRestarted: isFollowed && !run.wasStopped, now: Timestamp(microseconds: 0))
        record.endedAt = run.exitedAt
        record.areConditionsKnown = isBeginKnown
        let draft = Draft(service.record.spec.name, id: service.record.id, record, hasMainProcess: run.hasMainProcess)
        if run.wasStopped { draft.request = isFollowed ? .restart : .stop }
        // Stopped while the agent did not run any more, or with an end that nothing tells of.
        if run.bootID != bootID, run.wasStopped || run.exitedAt == nil { draft.request = .powerOff }
        add(draft, run)
        EventLoop.start { [weak self] in
            await self?.lookUpCause(of: draft)
            draft.isComplete = true
            self?.write()
        }
    }

    /// Corrects the record of a run behind which systemd was to start the service again, and has not: it has given up,
    /// or the service was stopped.
    func notRestarted(_ service: ManagedService) {
        let name = service.record.spec.name
        guard let id = restarting.removeValue(forKey: name), id == service.record.run.invocationID else { return }
        let run = EndedRun(service.record.run, isRestarted: false, now: Timestamp(microseconds: 0))
        let draft = Draft(name, id: service.record.id, run, hasMainProcess: true)
        draft.isCorrection = true
        draft.isComplete = true
        drafts.append(draft)
        write()
    }

    /// Drops a service that is deleted, whose records are removed.
    func forget(_ name: ServiceName) {
        figures[name] = nil
        restarting[name] = nil
        drafts.removeAll { $0.name == name && !$0.isWriting }
        guard drafts.isEmpty else { return }
        retry?.cancel()
        failing = []
        retryDelay = Self.retryDelays.lowerBound
    }

    private func add(_ draft: Draft, _ run: ServiceRun) {
        drafts.append(draft)
        services.change(draft.name) { service in
            if service.unrecordedRun == nil {
                service.unrecordedRun = run
                // For the next agent, which does not know of the request.
                if draft.request != nil { service.unrecordedRun?.wasStopped = true }
            }
            if service.record.run.invocationID == run.invocationID { service.record.run.isRecorded = true }
        }
        // While the disk hangs.
        let own = drafts.indices.filter { drafts[$0].id == draft.id && !drafts[$0].isWriting }
        if own.count > EndedRun.countLimit, let oldest = own.first { drafts.remove(at: oldest) }
    }

    // MARK: What is looked up

    private func complete(_ draft: Draft, wasStopped: Bool) async {
        guard services[draft.name]?.record.phase != .deleting else {
            draft.run.conclude(draft.request, draft.evidence, hasMainProcess: draft.hasMainProcess)
            draft.isComplete = true
            return
        }
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
                if run.result == "oom-kill" {
                    draft.evidence.outOfMemory = try FailureReport.outOfMemory(draft.name, since: run.startedAt)
                }
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

    /// Writes the records whose figures are known, those of each service in the order of the ends.
    private func write() {
        guard !isWriting else { return }
        isWriting = true
        EventLoop.start { [weak self] in await self?.writeAll() }
    }

    private func writeAll() async {
        defer { isWriting = false }
        while let draft = nextDraft() {
            draft.isWriting = true
            do throws(SystemError) {
                try await write(draft)
                draft.isWriting = false
                // The deletion may be refused.
                guard !isBeingDeleted(draft) else { continue }
                drafts.removeAll { $0 === draft }
                recorded(draft)
                if drafts.isEmpty { retryDelay = Self.retryDelays.lowerBound }
            } catch {
                draft.isWriting = false
                messages.notice(.error, "cannot write the record of a run; it is tried again: \(error)", draft.name)
                writeLater(draft.id)
            }
        }
    }

    /// The oldest one of a service whose records can be written.
    private func nextDraft() -> Draft? {
        var passed = failing
        for draft in drafts {
            guard !passed.contains(draft.id) else { continue }
            if isBeingDeleted(draft) {
                writeLater(draft.id)
            } else if draft.isComplete {
                return draft
            }
            passed.insert(draft.id)
        }
        return nil
    }

    private func writeLater(_ id: String) {
        guard failing.insert(id).inserted, failing.count == 1 else { return }
        retry?.arm(after: retryDelay)
        retryDelay = min(retryDelay * 2, Self.retryDelays.upperBound)
    }

    private func writeAgain() {
        failing = []
        write()
    }

    private func write(_ draft: Draft) async throws(SystemError) {
        guard isWanted(draft) else { return }
        let earlier = try await read(draft.id)
        let own = draft.run.invocationID.flatMap { id in earlier.last { $0.invocationID == id } }
        if draft.isCorrection {
            guard let own else { return }
            draft.run = own
            draft.run.isRestarted = false
        } else {
            // An agent that died had written it.
            guard own == nil else { return }
            draft.run.number = (earlier.last?.number ?? 0) + 1
        }
        // Before the removal of the records, not behind it.
        guard isWanted(draft) else { return }
        var changes = FileChanges()
        desired.runs.write(draft.run, of: draft.id, into: &changes)
        if let error = await desired.disk.begin(changes).wait().error { throw error }
        announcements.announce(draft.run, of: draft.name)
    }

    private func isBeingDeleted(_ draft: Draft) -> Bool {
        guard let record = services[draft.name]?.record else { return false }
        return record.id == draft.id && record.phase == .deleting
    }

    /// Whether the service exists and is not being deleted.
    private func isWanted(_ draft: Draft) -> Bool {
        services[draft.name]?.record.id == draft.id && !isBeingDeleted(draft)
    }

    private func recorded(_ draft: Draft) {
        guard isWanted(draft), !drafts.contains(where: { $0.id == draft.id }),
            services[draft.name]?.unrecordedRun != nil
        else { return }
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
        guard !desired.disk.isHanging else { throw .storageTimeout(DesiredState.silence) }
        do throws(SystemError) {
            return try await read(id, within: desired.diskPatience)
        } catch {
            throw ControlError(error)
        }
    }
}
