internal import Services
internal import Systemd

/// Why the desired state of a service is not reached.
enum Obstacle: Error {
    /// The connection to systemd is lost.
    case disconnected
    /// systemd did not answer a call, or did not end a job, in time.
    case timeout(String)
    /// systemd answers, and has not ended a job in time.
    case unfinished(String)
    /// systemd refuses the job, or ends it without doing it.
    case refused(String)
    /// Another client of systemd cancelled the job.
    case superseded
    /// A file cannot be written or removed.
    case storage(SystemError)
    /// The disk does not answer in time.
    case storageHangs
}

/// Convergence: the steps from the actual state of a service to the desired state.
///
/// A record whose phase is not `established` has an outstanding change. ``converge(_:by:)`` compares the record
/// with the state of the unit that systemd reported last, and takes the missing steps. It can be called at any time: by
/// the request that wrote the record, after a failure with a growing delay, after a reconnection, and at the start of
/// the agent.
@EventLoopActor
final class Convergence {
    /// How an outstanding start replaces the current run.
    enum StartMethod {
        /// A stop job and a start job; in between systemd unloads its copy of the unit file.
        case stopAndStart
        /// One restart job, for a unit whose file has not changed.
        case restart
        /// Queues the job and does not wait for its end.
        case dispatch
    }

    private let services: ServiceTable
    private let desired: DesiredState
    private let systemd: SystemdClient
    private let connectivity: Connectivity
    private let operations: KeyedSerialQueue<ServiceName>
    private let diagnosis: Diagnosis
    private let changes: Changes
    private let messages: MessageLog
    private let layout: StateLayout
    /// The time-out of the wait for a job.
    private let jobTimeout: Duration
    private let willStop: @EventLoopActor (ServiceName) -> Void
    private let forgotten: @EventLoopActor (ServiceName) -> Void
    /// The retry timers of services whose last attempt has failed.
    /// The retry of a reload that has failed.
    private var outstandingReload: Retry?
    /// The units with drop-ins of ``apply(_:to:)``.
    private var unitsToRevert: Set<String> = []
    private var retries: [ServiceName: Retry] = [:]
    /// The times of recent removals.
    private var removedAt: [ServiceName: MonotonicClock] = [:]

    /// `willStop` is called with a service whose unit is about to be stopped, and `forgotten` with one that is removed.
    init(
        _ services: ServiceTable,
        _ desired: DesiredState,
        _ systemd: SystemdClient,
        _ connectivity: Connectivity,
        _ operations: KeyedSerialQueue<ServiceName>,
        _ diagnosis: Diagnosis,
        _ changes: Changes,
        _ messages: MessageLog,
        _ layout: StateLayout,
        jobTimeout: Duration,
        willStop: @escaping @EventLoopActor (ServiceName) -> Void,
        forgotten: @escaping @EventLoopActor (ServiceName) -> Void
    ) {
        self.services = services
        self.desired = desired
        self.systemd = systemd
        self.connectivity = connectivity
        self.operations = operations
        self.diagnosis = diagnosis
        self.changes = changes
        self.messages = messages
        self.layout = layout
        self.jobTimeout = jobTimeout
        self.willStop = willStop
        self.forgotten = forgotten
    }

    /// The number of lost connections that a request survives.
    private static let reconnectsLimit = 3

    /// Converges on the record. Must run in the service's queue. An obstacle is shown as pending, and retried later
    /// unless systemd refuses the job. Throws `systemdTimeout`, `systemdRefused`, `superseded`, `storageFailed` or
    /// `storageTimeout`.
    func converge(
        _ name: ServiceName,
        by method: StartMethod = .stopAndStart
    ) async throws(ControlError) {
        let begin = MonotonicClock.now()
        var reconnects = 0
        while true {
            do throws(Obstacle) {
                if reconnects > 0 { try await roundTrip() }
                return try await reach(name, method)
            } catch {
                switch error {
                case .disconnected:
                    systemd.noticeLoss()
                    obstruct(name, error)
                    // systemd re-executes itself after an upgrade: the connection is back soon.
                    let left = jobTimeout - MonotonicClock.now().duration(since: begin)
                    if !connectivity.isReady, left > .zero { await connectivity.wait(atMost: left) }
                    reconnects += 1
                    if connectivity.isReady, reconnects <= Self.reconnectsLimit { continue }
                    retryLater(name)
                    throw .systemdTimeout("the connection to systemd was lost")
                case .timeout(let reason), .unfinished(let reason):
                    obstruct(name, error)
                    retryLater(name)
                    throw .systemdTimeout(reason)
                case .storage(let failure):
                    obstruct(name, error)
                    retryLater(name)
                    throw .storageFailed(failure.description)
                case .storageHangs:
                    obstruct(name, error)
                    retryLater(name)
                    throw .storageTimeout(DesiredState.silence)
                case .refused(let reason): throw .systemdRefused(reason)
                case .superseded: throw .superseded
                }
            }
        }
    }

    /// Resumes all outstanding changes after a connection to systemd. They are queued now, before new requests.
    func convergeOutstanding() {
        for (name, service) in services.entries.sorted(by: { $0.name < $1.name })
        where service.record.phase != .established {
            // The running operation retries after the loss of the connection itself.
            guard !operations.isBusy(name) else { continue }
            retries[name] = nil
            if service.remarks.pending == nil { desired.showPending(name, because: .waiting) }
            operations.begin(name) { [weak self] in await self?.convergeAgain(name) }
        }
    }

    /// Retries an outstanding change.
    private func convergeAgain(_ name: ServiceName) async {
        guard let record = services[name]?.record, record.phase != .established else { return retries[name] = nil }
        do throws(Obstacle) {
            try await roundTrip()
            // The entry of a job that has just ended may not be written yet.
            if record.phase != .deleting { await JournalSync.synchronize(within: Logs.journalPatience) }
            if wasReached(record) {
                // The change was reached once: a different state now is the act of a person or of the service.
                desired.intend(record.phase == .stopping ? .stop : .none, name)
                return establish(name)
            }
            try await reach(name, .stopAndStart)
            let operation = PendingChange(of: record, .waiting).operation.rawValue
            messages.notice(.information, "\(operation): reached on another attempt", name)
        } catch {
            switch error {
            case .superseded: followNewestActor(name)
            default:
                obstruct(name, error)
                retryLater(name)
            }
        }
    }

    /// Whether the journal shows that systemd has done the outstanding job of a record: an agent that was killed could
    /// not write that down.
    private func wasReached(_ record: ServiceRecord) -> Bool {
        let job: JobHistory.Kind
        switch record.phase {
        case .starting: job = .start
        case .stopping: job = .stop
        case .deleting, .established: return false
        }
        do throws(SystemError) {
            return try JobHistory.isDone(job, of: UnitName.unit(of: record.spec.name), since: record.updatedAt)
        } catch {
            // Unknown: the job is repeated.
            return false
        }
    }

    /// Round trip (Ping): D-Bus keeps order, so every signal sent before the reply has been handled when it returns,
    /// and a call that timed out has been executed.
    func roundTrip() async throws(Obstacle) {
        try await ask { () throws(BusError) in try await self.systemd.roundTrip() }
    }

    // MARK: Retries

    /// The timer and the delay of retries.
    final class Retry {
        fileprivate static let firstDelay = Duration.seconds(1)
        fileprivate static let delayLimit = Duration.seconds(60)

        fileprivate var delay = Retry.firstDelay
        fileprivate var timer: Timer?

        /// Arms the timer; the delay doubles with each attempt.
        @EventLoopActor fileprivate func arm() {
            timer?.arm(after: delay)
            delay = min(delay * 2, Retry.delayLimit)
        }
    }

    /// Schedules a retry.
    func retryLater(_ name: ServiceName) {
        let retry = retries[name] ?? Retry()
        retries[name] = retry
        if retry.timer == nil { retry.timer = try? Timer { [weak self] in self?.retryNow(name) } }
        retry.arm()
    }

    private func retryNow(_ name: ServiceName) {
        // Without a connection: all outstanding changes are resumed after the reconnection.
        guard connectivity.isReady, retries[name] != nil else { return }
        EventLoop.start { [weak self] in
            guard let self else { return }
            // While systemd does not answer a ping, a retry in the queue would only delay requests.
            guard await systemd.answers(), !desired.disk.isHanging else { return retryLater(name) }
            operations.begin(name) { [weak self] in await self?.convergeAgain(name) }
        }
    }

    private func obstruct(_ name: ServiceName, _ obstacle: Obstacle) {
        guard let record = services[name]?.record, record.phase != .established else { return }
        guard let reason = obstacle.reason else { return }
        desired.showPending(name, because: reason)
    }

    /// Another client of systemd cancelled the job: the unit's state becomes the desired state.
    private func followNewestActor(_ name: ServiceName) {
        guard let service = services[name] else { return }
        let isDead = (systemd.state(of: name)?.activeState ?? .inactive).isDead
        desired.follow(isUp: !isDead || systemd.hasJob(name), name)
        retries[name] = nil
        messages.notice(.warning, "\(service.record.phase.rawValue): superseded by another client of systemd", name)
    }

    // MARK: Steps

    private func reach(_ name: ServiceName, _ method: StartMethod) async throws(Obstacle) {
        switch services[name]?.record.phase {
        case .starting: try await reachStart(name, method)
        case .stopping:
            desired.intend(.stop, name)
            try await stopUnit(name)
            establish(name)
        case .deleting: try await reachRemoval(name)
        case .established, nil: break
        }
    }

    private func reachStart(_ name: ServiceName, _ method: StartMethod) async throws(Obstacle) {
        guard let record = services[name]?.record else { return }
        let before = systemd.state(of: name) ?? UnitState()
        let isUp = !before.activeState.isDead
        if isUp, !record.isReplaced(before) {
            // The unit runs with the requested spec already.
            if let job = systemd.job(of: UnitName.unit(of: name)) {
                follow(job, name)
            } else {
                desired.intend(.none, name)
            }
            return establish(name)
        }
        let isRestart = isUp && method == .restart
        // `start` is set first: between the stop and the start of a restart the unit is inactive for a moment.
        desired.intend(.start, name)
        if isUp, !isRestart {
            try await stopUnit(name)
            desired.intend(.start, name)
        }
        var formerRun = isRestart ? before.invocationID : nil
        for attempt in 1... {
            let job = try await queueStart(name, restarting: isRestart)
            if method == .dispatch {
                establish(name)
                return follow(job, name)
            }
            let result = try await wait(for: job, name)
            if result == Job.canceled { throw .superseded }
            let state = systemd.state(of: name) ?? UnitState()
            let isFormerRun: Bool
            if let formerRun {
                isFormerRun = state.mainPID != nil && state.invocationID == formerRun
            } else {
                isFormerRun = !state.activeState.isDead && services[name]?.record.isReplaced(state) ?? false
            }
            guard isFormerRun else { return establish(name) }
            guard attempt == 1 else { throw .refused("it ended the job with '\(result)', and the process is the same") }
            if isRestart {
                try await ask { () throws(BusError) in try await self.systemd.thaw(UnitName.unit(of: name)) }
            } else {
                // The job found a run of the former files, whose start had not been reported before.
                formerRun = state.invocationID
                try await stopUnit(name)
                desired.intend(.start, name)
            }
        }
    }

    /// ``stopUnit(_:)`` for an operation. Throws what clients are told.
    func stop(_ name: ServiceName) async throws(ControlError) {
        do throws(Obstacle) {
            try await stopUnit(name)
        } catch {
            throw error.controlError
        }
    }

    /// Has systemd read all unit files again: a loaded unit that is not restarted has changed. Retried until done.
    func reload() async {
        do throws(BusError) {
            for unit in unitsToRevert {
                try await systemd.revert(unit)
                unitsToRevert.remove(unit)
            }
            try await systemd.reload()
            outstandingReload = nil
        } catch {
            let retry = outstandingReload ?? Retry()
            outstandingReload = retry
            if retry.timer == nil {
                retry.timer = try? Timer { [weak self] in EventLoop.start { [weak self] in await self?.reload() } }
            }
            retry.arm()
        }
    }

    /// Applies resource limits to the running processes of a service without drop-ins. The next ``reload()`` removes
    /// the drop-ins that systemd writes for them: they would take precedence over later changes of the unit file.
    /// Returns whether systemd has applied them.
    func apply(_ limits: [(name: String, value: UInt64)], to name: ServiceName) async -> Bool {
        let unit = UnitName.unit(of: name)
        unitsToRevert.insert(unit)
        do throws(BusError) {
            try await systemd.setLimits(of: unit, limits)
            return true
        } catch {
            return false
        }
    }

    /// Sends a signal to the main process of a service. Throws `serviceNotRunning` when there is none.
    func signal(_ name: ServiceName, _ signal: Int) async throws(ControlError) {
        do throws(BusError) {
            try await systemd.signalMainProcess(of: UnitName.unit(of: name), signal)
        } catch .remote(name: "org.freedesktop.systemd1.NoSuchUnit", message: _) {
            throw .serviceNotRunning
        } catch .remote(name: "org.freedesktop.systemd1.NoSuchProcess", message: _) {
            throw .serviceNotRunning
        } catch {
            throw Obstacle(error).controlError
        }
    }

    /// Stops the unit: returns when its last process is gone and its last state has been received, and resets its
    /// failure.
    func stopUnit(_ name: ServiceName) async throws(Obstacle) {
        let unit = UnitName.unit(of: name)
        let before = systemd.state(of: name)
        for attempt in 1... {
            guard let result = try await endUnit(name) else { return }
            try await ask { () throws(BusError) in try await self.systemd.awaitLastSignals(of: unit) }
            let state = systemd.state(of: name) ?? UnitState()
            // The job of another client that cancelled this one may be a restart, which has stopped the unit.
            let isSuperseded = result == Job.canceled && systemd.hasJob(name)
            if state.activeState.isDead, !isSuperseded { return }
            if result == Job.canceled || state.invocationID != before?.invocationID { throw .superseded }
            guard attempt == 1 else { throw .refused("it ended the job with '\(result)', and the unit is active") }
            try await ask { () throws(BusError) in try await self.systemd.thaw(unit) }
        }
    }

    /// Stops a service and removes its files. The record is removed last, after the audit record is written: while it
    /// exists, the removal is outstanding.
    private func reachRemoval(_ name: ServiceName) async throws(Obstacle) {
        let unit = UnitName.unit(of: name)
        desired.intend(.stop, name)
        systemd.expectRelease(of: unit)
        if let result = try await endUnit(name), result != Job.done {
            // The job was refused, superseded or blocked by the freezer, or the unit has stopped nevertheless.
            try await stopUnit(name)
        }
        desired.hold(name)
        defer { desired.release(name) }
        // In parallel with systemd unloading the unit.
        let written = try await keepForAudit(name) { self.desired.units.remove(name, into: &$0) }
        try await forgetDropIns(of: name)
        // The boot target keeps a unit that it started loaded: systemd would start it again from memory.
        try await ask { () throws(BusError) in try await self.systemd.forget(unit) }
        guard (systemd.state(of: name)?.activeState ?? .inactive).isDead else {
            throw .refused("it ended the job, and the unit is active")
        }
        // systemd may have reported more about the end of the run.
        if written != services[name]?.record { _ = try await keepForAudit(name) }
        let id = services[name]?.record.id
        try await desired.reachDisk { changes in
            if let id { self.desired.runs.remove(id, into: &changes) }
            self.desired.records.remove(name, into: &changes)
            changes.synchronize()
        }
        removedAt[name] = MonotonicClock.now()
        forget(name)
    }

    /// Has systemd remove the drop-ins of a deleted unit: the next service of its name must not inherit them.
    private func forgetDropIns(of name: ServiceName) async throws(Obstacle) {
        let unit = UnitName.unit(of: name)
        let places = layout.watchedUnitPath.map { "\($0)/\(unit).d" }
        guard places.contains(where: { KernelDirectoryTree.inode(of: $0) != nil }) else { return }
        try await ask { () throws(BusError) in try await self.systemd.revert(unit) }
    }

    /// Writes the audit record of a removal, with the figures of the last run, after the changes of `first`. Returns
    /// the record that was written.
    private func keepForAudit(
        _ name: ServiceName,
        after first: (inout FileChanges) -> Void = { _ in }
    ) async throws(Obstacle) -> ServiceRecord? {
        guard let record = services[name]?.record else { return nil }
        let removed = RemovedService(record)
        do throws(Obstacle) {
            try await desired.reachDisk { changes in
                first(&changes)
                self.desired.removed.add(removed, into: &changes)
                changes.synchronize()
            }
            self.desired.removed.note(removed)
        } catch .storage(let error) where error.isStorageFull {
            // Disk full: the record of the service is moved and becomes the audit record.
            try await desired.reachDisk { changes in
                first(&changes)
                changes.synchronize()
                self.desired.removed.add(removed, movedFrom: self.desired.records, into: &changes)
            }
            self.desired.removed.note(removed, isMissing: true)
            desired.writeAuditLater()
        }
        return record
    }

    /// Marks the outstanding change as done.
    func establish(_ name: ServiceName) {
        guard services[name]?.record.phase != .established else { return }
        retries[name] = nil
        desired.establish(name)
    }

    /// Removes a service that has no files any more, or that was not created.
    func forget(_ name: ServiceName) {
        retries[name] = nil
        systemd.forgetState(of: name)
        desired.forget(name)
        forgotten(name)
    }

    /// Whether a service was removed within `duration`.
    func hasRemoved(_ name: ServiceName, within duration: Duration) -> Bool {
        let now = MonotonicClock.now()
        removedAt = removedAt.filter { now.duration(since: $0.value) < duration }
        return removedAt[name] != nil
    }

    // MARK: Jobs

    /// Queues a start or restart job, after systemd has loaded the unit file that is on disk.
    private func queueStart(_ name: ServiceName, restarting: Bool) async throws(Obstacle) -> Job {
        let unit = UnitName.unit(of: name)
        do throws(BusError) {
            // An explicit start resets the start-limit counter. A unit that is not loaded has no failure and no stale
            // copy.
            if try await systemd.forgetStaleCopy(of: unit) { try systemd.resetFailedUnit(unit) }
            services.change(name) { $0.remarks.refusal = nil }
            if restarting { willStop(name) }
            do throws(BusError) {
                return try await systemd.queueStart(unit, restarting: restarting)
            } catch .remote {
                // LoadState=error: systemd tried to load the unit while its file was missing, and reads the file again
                // only after a reload.
                try await systemd.reload()
                return try await systemd.queueStart(unit, restarting: restarting)
            }
        } catch .remote(_, let message) {
            services.change(name) { $0.remarks.refusal = message }
            desired.intend(.none, name)
            throw .refused(message)
        } catch {
            throw Obstacle(error)
        }
    }

    /// Completes the start when its job ends, without a time limit.
    private func follow(_ job: Job, _ name: ServiceName) {
        services.change(name) { $0.startJob = job }
        EventLoop.start { [weak self] in
            // Without a result the connection is lost: after the reconnection the states are read again.
            guard let result = try? await job.result() else { return }
            try? await self?.started(by: job, name)
            self?.ended(job, name, result)
        }
    }

    /// Establishes a start whose job has ended after the request's time-out.
    private func ended(_ job: Job, _ name: ServiceName, _ result: Job.Result) {
        guard let record = services[name]?.record, record.phase == .starting, !operations.isBusy(name) else { return }
        if result == Job.canceled { return followNewestActor(name) }
        if !record.isReplaced(systemd.state(of: name) ?? UnitState()) { establish(name) }
    }

    /// Finds the start jobs again after a reconnection to systemd. A start without a job has ended.
    func followStarts() {
        for (name, service) in services.entries where service.intent == .start && service.record.phase == .established {
            if let job = systemd.job(of: service.unit) {
                follow(job, name)
            } else {
                desired.intend(.none, name)
            }
        }
    }

    /// Handles the end of a start job.
    private func started(by job: Job, _ name: ServiceName) async throws(Obstacle) {
        // Round trip (Ping): JobRemoved can come before the unit's last PropertiesChanged.
        try await roundTrip()
        guard services[name]?.startJob === job else { return }
        services.change(name) { $0.startJob = nil }
        if services[name]?.intent == .start { desired.intend(.none, name) }
    }

    /// Waits for the end of a start job; returns its result.
    private func wait(for job: Job, _ name: ServiceName) async throws(Obstacle) -> Job.Result {
        services.change(name) { $0.startJob = job }
        let result: Job.Result
        do throws(Obstacle) {
            result = try await self.result(of: job)
        } catch {
            switch error {
            case .timeout, .unfinished: follow(job, name)
            default: break
            }
            throw error
        }
        try await started(by: job, name)
        await awaitLaunch(of: name)
        await diagnosis.wait(for: name)
        return result
    }

    /// Waits until the main process of a service has executed the command.
    private func awaitLaunch(of name: ServiceName) async {
        let begin = MonotonicClock.now()
        while services[name]?.state.isLaunching ?? false {
            // A launcher can hang in execve(2), on a file system that does not answer. It is then reported as starting.
            let left = jobTimeout - MonotonicClock.now().duration(since: begin)
            guard left > .zero else { return }
            await changes.next(of: name, within: left)
        }
    }

    /// Stops the unit; returns the result of the job, nil for a unit that is not loaded. systemd may still send signals
    /// about the unit until it unloads it or answers a ping.
    private func endUnit(_ name: ServiceName) async throws(Obstacle) -> Job.Result? {
        let unit = UnitName.unit(of: name)
        willStop(name)
        let job: Job
        do throws(BusError) {
            job = try await systemd.stopUnit(unit)
        } catch .remote(name: "org.freedesktop.systemd1.NoSuchUnit", message: _) {
            return nil
        } catch {
            throw Obstacle(error)
        }
        let result = try await result(ofStop: job, unit, services[name]?.record.spec)
        try await ask { () throws(BusError) in try self.systemd.resetFailedUnit(unit) }
        return result
    }

    /// The time that a stop job may take beyond the unit's stop time-out before the agent sends SIGKILL.
    private static let killMargin = Duration.seconds(2)

    /// Waits for the end of a stop job. A main process can extend its stop time-out (`EXTEND_TIMEOUT_USEC=` of
    /// sd_notify(3)), since the unit has NotifyAccess=main for the launcher: when the unit's own time-out is over, its
    /// processes are killed. Each command after the end has that time, too.
    private func result(
        ofStop job: Job,
        _ unit: String,
        _ spec: ServiceSpec?
    ) async throws(Obstacle) -> Job.Result {
        let begin = MonotonicClock.now()
        func left(of duration: Duration) -> Duration { duration - MonotonicClock.now().duration(since: begin) }
        let usual = .seconds(spec?.stopTimeout ?? 0) * (1 + (spec?.postStop.count ?? 0)) + Self.killMargin
        if let result = try await result(of: job, ifWithin: min(usual, jobTimeout)) { return result }
        // A drop-in or the former spec may have set another stop time-out.
        var timeout: Duration?
        try await ask { () throws(BusError) in
            timeout = try await self.systemd.stopTimeout(of: unit)
            if let longest = timeout, longest < self.jobTimeout {
                timeout = longest * (1 + (try await self.systemd.stopCommandsCount(of: unit)))
            }
        }
        if let timeout, timeout < jobTimeout - Self.killMargin {
            let patience = max(.zero, left(of: timeout + Self.killMargin))
            if let result = try await result(of: job, ifWithin: patience) { return result }
            try await ask { () throws(BusError) in try await self.systemd.kill(unit) }
        }
        return try await result(of: job, within: max(.zero, left(of: jobTimeout)))
    }

    /// The result of a job; nil when it has not ended within `timeout`.
    private func result(of job: Job, ifWithin timeout: Duration) async throws(Obstacle) -> Job.Result? {
        do throws(Obstacle) {
            return try await result(of: job, within: timeout)
        } catch {
            switch error {
            case .timeout, .unfinished: return nil
            default: throw error
            }
        }
    }

    func result(of job: Job, within timeout: Duration? = nil) async throws(Obstacle) -> Job.Result {
        do throws(Job.Failure) {
            return try await job.result(within: timeout ?? jobTimeout)
        } catch {
            switch error {
            case .disconnected: throw .disconnected
            case .timeout:
                let reason = "the job did not end within \(jobTimeout)"
                throw await systemd.answers() ? .unfinished(reason) : .timeout(reason)
            }
        }
    }

    private func ask(_ question: @EventLoopActor () async throws(BusError) -> Void) async throws(Obstacle) {
        do throws(BusError) {
            try await question()
        } catch {
            throw Obstacle(error)
        }
    }
}

extension Obstacle {
    /// What a client is told of an obstacle whose step is not retried.
    @EventLoopActor fileprivate var controlError: ControlError {
        switch self {
        case .disconnected: .systemdTimeout("the connection to systemd was lost")
        case .timeout(let reason), .unfinished(let reason): .systemdTimeout(reason)
        case .refused(let reason): .systemdRefused(reason)
        case .superseded: .superseded
        case .storage(let failure): ControlError(failure)
        case .storageHangs: .storageTimeout(DesiredState.silence)
        }
    }

    /// How the obstacle shows in `pending`; nil for one that ends the change.
    fileprivate var reason: PendingChange.Reason? {
        switch self {
        case .disconnected, .timeout: .systemdUnreachable
        case .unfinished: .waiting
        case .refused: .refused
        case .superseded: nil
        case .storage(let error): PendingChange.Reason(error)
        case .storageHangs: .diskHangs
        }
    }

    fileprivate init(_ error: BusError) {
        if case .remote(_, let message) = error {
            self = .refused(message)
        } else {
            self = error.isTimeout ? .timeout(error.description) : .disconnected
        }
    }
}

extension ServiceRecord {
    /// Whether a unit in this state still has the run that the outstanding start replaces.
    fileprivate func isReplaced(_ state: UnitState) -> Bool {
        if let replacedRun { return state.invocationID == replacedRun }
        // There was no run, or the record is of version 0.1.0.
        guard let startedAt = state.main.startedAt else { return false }
        return startedAt < updatedAt
    }
}
