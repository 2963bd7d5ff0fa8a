internal import Services
internal import Systemd

/// The operations on one service, step by step. Whoever calls one is in the service's lane.
extension Supervisor {
    /// Creates a service and dispatches its start.
    func add(_ spec: ServiceSpec) async throws(ControlError) -> Service {
        guard services.count < configuration.servicesLimit else {
            throw .tooManyServices(limit: configuration.servicesLimit)
        }
        await awaitLastLines(ofFormer: spec.name)
        var service = ManagedService(try newRecord(spec))
        let record = service.record
        let recordName = NameChanges()
        let unitNames = NameChanges()
        do throws(SystemError) {
            try records.save(record, with: recordName)
            try units.write(record, isLinked: false, with: unitNames)
        } catch {
            removeFiles(of: spec.name)
            throw ControlError(error)
        }
        service.intent = .start
        insert(service)
        announce(spec.name)
        do throws(ControlError) {
            try await dispatchStart(spec.name)
            try await finishFiles(of: spec.name, recordName, unitNames)
        } catch {
            removeFiles(of: spec.name)
            forget(spec.name)
            // The call may have arrived although its answer did not.
            abandoned.insert(spec.name)
            throw error
        }
        return try find(spec.name).snapshot
    }

    /// Makes the files of a new service durable, and the link for boot. That is left until systemd has loaded the unit:
    /// it reads directories of the same file system, and would wait for the file system's journal. When it fails the
    /// unit is stopped.
    private func finishFiles(
        of name: ServiceName,
        _ recordName: NameChanges,
        _ unitNames: NameChanges
    ) async throws(ControlError) {
        do throws(SystemError) {
            // What starts at boot has a record, whatever is lost with the power: both may be on different disks.
            try recordName.synchronize()
            try units.setEnabled(true, name, with: unitNames)
            try unitNames.synchronize()
        } catch {
            try? await stopUnit(name)
            throw ControlError(error)
        }
    }

    /// Gives a service another spec, and starts it anew with that unless it was stopped on purpose.
    func change(_ name: ServiceName, to spec: ServiceSpec) async throws(ControlError) -> Service {
        let before = try find(name)
        let hasOtherFiles = try update(name) { record in
            record.spec = spec
            record.phase = record.isEnabled ? .starting : .established
        }
        guard before.record.isEnabled else { return try find(name).snapshot }
        guard hasOtherFiles else {
            // A port is nothing that the process sees.
            establish(name)
            return try find(name).snapshot
        }
        intend(.start, name)
        do throws(ControlError) {
            // A restart would run the copy of the unit that systemd holds; once stopped, it forgets it.
            if before.snapshot.status.isUp { try await stopUnit(name) }
            intend(.start, name)
            if let job = try await queueStart(name, restarting: false) { try await wait(for: job, name) }
        } catch {
            intend(before.intent, name)
            throw error
        }
        establish(name)
        return try find(name).snapshot
    }

    /// Starts the unit, or restarts it where it is active, and waits for systemd's job.
    func run(_ name: ServiceName) async throws(ControlError) -> Service {
        let before = try find(name)
        if !before.record.isEnabled {
            try update(name) { record in
                record.isEnabled = true
                record.phase = .starting
            }
        } else {
            try repair(before.record)
        }
        let isUp = before.snapshot.status.isUp
        intend(isUp ? .none : .start, name)
        let job: Job?
        do throws(ControlError) {
            job = try await queueStart(name, restarting: isUp)
        } catch {
            intend(before.intent, name)
            revert(name, to: before.record)
            throw error
        }
        establish(name)
        if let job { try await wait(for: job, name) }
        return try find(name).snapshot
    }

    /// Stops the service for good: until somebody starts it, it stays stopped over a reboot.
    func halt(_ name: ServiceName) async throws(ControlError) -> Service {
        let before = try find(name)
        let changes = NameChanges()
        try update(name, with: changes) { record in
            record.isEnabled = false
            record.phase = .stopping
        }
        intend(.stop, name)
        do throws(ControlError) {
            try await stopUnit(name, with: changes)
        } catch {
            // Not stopped: whoever asked will ask again, and until then nothing has changed.
            intend(before.intent, name)
            revert(name, to: before.record)
            throw error
        }
        // It is stopped, which a crash might undo: the record says still what is to be.
        try store { () throws(SystemError) in try changes.synchronize() }
        establish(name)
        return try find(name).snapshot
    }

    /// Stops a service and removes all of it. Its record goes last, after the one for the audit is there: as long as it
    /// is there itself, the removal is finished by the next start of the agent.
    func remove(_ name: ServiceName, by requester: Requester) async throws(ControlError) {
        let changes = NameChanges()
        if try find(name).record.phase != .deleting { try beginRemoval(name, by: requester, with: changes) }
        intend(.stop, name)
        _ = try await endUnit(name, with: changes)
        // While systemd lets go of the unit.
        let written = try store { () throws(SystemError) in
            try changes.synchronize()
            try self.units.remove(name, with: changes)
            try changes.synchronize()
            return try self.keepForAudit(name, by: requester, with: changes)
        }
        // The boot target keeps a unit loaded that it started; systemd would start it from memory.
        try await ask { () throws(BusError) in try await self.systemd.forget(UnitName.unit(of: name)) }
        try store { () throws(SystemError) in
            // systemd may have had more to say of the run's end.
            if written != self.services[name]?.record {
                _ = try self.keepForAudit(name, by: requester, with: changes)
            }
            try self.records.remove(name, with: changes)
            try changes.synchronize()
        }
        removals[name] = MonotonicClock.now()
        forget(name)
    }

    /// Writes down what is removed and by whom, with the figures of its last run; gives back the record with them.
    private func keepForAudit(
        _ name: ServiceName,
        by requester: Requester,
        with changes: NameChanges
    ) throws(SystemError) -> ServiceRecord? {
        guard let record = services[name]?.record else { return nil }
        try removed.add(RemovedService(record, by: requester), with: changes)
        return record
    }

    /// Writes down that a service is to be removed and by whom. When something cannot be written, or the unit's files
    /// could not be removed, nothing has changed.
    private func beginRemoval(
        _ name: ServiceName,
        by requester: Requester,
        with changes: NameChanges
    ) throws(ControlError) {
        let before = try find(name).record
        var record = before
        record.phase = .deleting
        record.isEnabled = false
        record.deletedBy = requester
        record.updatedAt = Self.now()
        let audit = RemovedService(record, by: requester)
        do throws(SystemError) {
            try units.checkWritable()
            try removed.reserve(for: audit)
            try records.save(record, with: changes)
            try units.setEnabled(false, name, with: changes)
        } catch {
            // As far as the disk allows; what is left of the attempt goes at the next start.
            try? removed.release(audit)
            revert(name, to: before)
            throw ControlError(error)
        }
        services[name]?.record = record
    }

    // MARK: Steps in systemd

    /// Queues the start of a unit and leaves the rest to systemd.
    func dispatchStart(_ name: ServiceName) async throws(ControlError) {
        let job = try await queueStart(name, restarting: false)
        establish(name)
        if let job { follow(job, name) }
    }

    /// Has the start count as done when its job ends, however long that takes.
    private func follow(_ job: Job, _ name: ServiceName) {
        services[name]?.startJob = job
        EventLoop.start { [weak self] in
            // The connection is lost: the states are read again, and with them what became of the start.
            guard (try? await job.result()) != nil else { return }
            try? await self?.started(by: job, name)
        }
    }

    /// Finds the jobs of starts again after systemd was out of sight: a start without one has ended.
    func followStarts() {
        for (name, service) in services where service.intent == .start {
            if let job = systemd.job(of: service.unit) {
                follow(job, name)
            } else {
                intend(.none, name)
            }
        }
    }

    /// Takes note that the job of a start has ended.
    private func started(by job: Job, _ name: ServiceName) async throws(ControlError) {
        // The job's last state may be held back until systemd has had its say.
        try await ask { () throws(BusError) in try await self.systemd.settle() }
        guard services[name]?.startJob === job else { return }
        services[name]?.startJob = nil
        if services[name]?.intent == .start { intend(.none, name) }
    }

    /// Has systemd start or restart the unit from what is on disk. Nil when systemd refuses the unit, which is then the
    /// service's own failure.
    func queueStart(_ name: ServiceName, restarting: Bool) async throws(ControlError) -> Job? {
        let unit = UnitName.unit(of: name)
        do throws(BusError) {
            // Whoever starts by hand wants more than what is left of systemd's patience with crashes. What is not
            // loaded has no failure, and no older copy.
            if try await systemd.forgetStaleCopy(of: unit) { try systemd.resetFailedUnit(unit) }
            services[name]?.refusal = nil
            do throws(BusError) {
                return try await systemd.queueStart(unit, restarting: restarting)
            } catch .remote {
                // systemd may hold a copy that it could not load when somebody had taken the file away, and does not
                // look again by itself.
                try await systemd.reload()
                return try await systemd.queueStart(unit, restarting: restarting)
            }
        } catch .remote(_, let message) {
            services[name]?.refusal = message
            intend(.none, name)
            return nil
        } catch {
            throw ControlError(error)
        }
    }

    private static func failure(of changes: NameChanges) -> SystemError? {
        do throws(SystemError) {
            try changes.synchronize()
            return nil
        } catch {
            return error
        }
    }

    /// Waits until the job of a start has ended.
    func wait(for job: Job, _ name: ServiceName) async throws(ControlError) {
        services[name]?.startJob = job
        do throws(Job.Failure) {
            _ = try await job.result(within: configuration.jobTimeout)
        } catch {
            switch error {
            case .disconnected: throw .systemdUnavailable("the connection to systemd was lost")
            case .timeout:
                follow(job, name)
                throw .systemdTimeout("systemd did not end the job within \(configuration.jobTimeout)")
            }
        }
        try await started(by: job, name)
        await awaitLaunch(of: name)
        await awaitDiagnosis(of: name)
    }

    /// Waits until a service's main process is its command.
    private func awaitLaunch(of name: ServiceName) async {
        let begin = MonotonicClock.now()
        while services[name]?.state.isLaunching ?? false {
            // A launcher that hangs in execve(2), on a file system that does not answer, is shown as what it is.
            let left = configuration.jobTimeout - MonotonicClock.now().duration(since: begin)
            guard left > .zero else { return }
            await nextChange(of: name, within: left)
        }
    }

    /// Stops the unit until its last process is gone and leaves no failure behind in systemd; its last state is told.
    func stopUnit(_ name: ServiceName, with changes: NameChanges? = nil) async throws(ControlError) {
        guard try await endUnit(name, with: changes) else { return }
        try await ask { () throws(BusError) in try await self.systemd.settle(UnitName.unit(of: name)) }
    }

    /// Stops the unit. systemd may have more to say of that until it lets go of the unit or answers a question.
    /// `changes` are made durable meanwhile, as far as the disk allows. False for a unit that is not loaded.
    private func endUnit(_ name: ServiceName, with changes: NameChanges? = nil) async throws(ControlError) -> Bool {
        let unit = UnitName.unit(of: name)
        do throws(BusError) {
            // Whoever needs them to be durable looks again.
            let job = try await systemd.stopUnit(unit) { _ = changes.flatMap(Self.failure) }
            try await wait(for: job)
            try systemd.resetFailedUnit(unit)
            return true
        } catch .remote(name: "org.freedesktop.systemd1.NoSuchUnit", message: _) {
            return false
        } catch {
            throw ControlError(error)
        }
    }

    private func wait(for job: Job) async throws(BusError) {
        do throws(Job.Failure) {
            _ = try await job.result(within: configuration.jobTimeout)
        } catch {
            switch error {
            case .disconnected: throw .local(.notConnected)
            case .timeout: throw .local(.timedOut)
            }
        }
    }

    private func ask(_ question: @EventLoopActor () async throws(BusError) -> Void) async throws(ControlError) {
        do throws(BusError) {
            try await question()
        } catch {
            throw ControlError(error)
        }
    }

    // MARK: Steps on disk

    /// Changes the record and what is derived from it, on disk first. When something cannot be written nothing has
    /// changed. True when a file that systemd reads is another than before. The names are durable, too, unless the
    /// caller has `changes` to see to it.
    @discardableResult
    private func update(
        _ name: ServiceName,
        with changes: NameChanges? = nil,
        _ change: (inout ServiceRecord) -> Void
    ) throws(ControlError) -> Bool {
        let before = try find(name).record
        var record = before
        change(&record)
        record.updatedAt = Self.now()
        let hasOtherFiles: Bool
        do throws(SystemError) {
            let names = changes ?? NameChanges()
            try records.save(record, with: names)
            hasOtherFiles = try units.write(record, with: names)
            if changes == nil { try names.synchronize() }
        } catch {
            revert(name, to: before)
            throw ControlError(error)
        }
        services[name]?.record = record
        announce(name)
        return hasOtherFiles
    }

    /// Makes the derived files what the record says, should somebody have touched them.
    private func repair(_ record: ServiceRecord) throws(ControlError) {
        try store { () throws(SystemError) in try self.units.write(record) }
    }

    /// Goes back to an earlier record, as far as the disk allows; the next start of the agent does the rest.
    private func revert(_ name: ServiceName, to record: ServiceRecord) {
        guard let current = services[name] else { return }
        var record = record
        record.run = current.record.run
        services[name]?.record = record
        do throws(SystemError) {
            try records.save(record)
            try units.write(record)
        } catch {
            notice(.error, "cannot go back to what was before: \(error)", name)
        }
    }

    private func removeFiles(of name: ServiceName) {
        do throws(SystemError) {
            // Without its record nobody takes what is left for a service.
            try records.remove(name)
            let changes = NameChanges()
            try units.remove(name, with: changes)
            try changes.synchronize()
        } catch {
            notice(.error, "cannot remove the files of a service that was not created: \(error)", name)
        }
    }

    /// Notes that what was begun is done. It is written with the other changes of this moment: an agent that dies
    /// before finds it done, or does it once more.
    func establish(_ name: ServiceName) {
        guard services[name]?.record.phase != .established else { return }
        services[name]?.record.phase = .established
        save(name)
    }

    private func forget(_ name: ServiceName) {
        if let service = take(name) { announceRemoval(of: service) }
        discard(name)
    }

    /// Notes what was asked of a service and has not yet shown in its state.
    func intend(_ intent: ServiceStatus.Intent, _ name: ServiceName) {
        services[name]?.intent = intent
        announce(name)
    }

    private func newRecord(_ spec: ServiceSpec) throws(ControlError) -> ServiceRecord {
        do throws(SystemError) {
            return ServiceRecord(id: try Identifier.random().description, spec: spec, createdAt: Self.now())
        } catch {
            throw ControlError(error)
        }
    }

    @discardableResult
    private func store<Result>(_ write: () throws(SystemError) -> Result) throws(ControlError) -> Result {
        do throws(SystemError) {
            return try write()
        } catch {
            throw ControlError(error)
        }
    }

    private static func now() -> Timestamp { Timestamp(microseconds: WallClock.now().microseconds) }
}

extension ControlError {
    init(_ error: BusError) {
        self = error.isTimeout ? .systemdTimeout(error.description) : .systemdUnavailable(error.description)
    }

    init(_ error: SystemError) {
        self = error.isStorageFull ? .storageFull(error.description) : .storageFailed(error.description)
    }
}

extension ServiceStatus {
    /// Whether there is something to stop.
    var isUp: Bool { self == .starting || self == .running }
}

extension RemovedService {
    /// The record of a deletion that is under way; `requester` where the record does not say who asked.
    fileprivate init(_ record: ServiceRecord, by requester: Requester) {
        self.init(record, removedAt: record.updatedAt, removedBy: record.deletedBy ?? requester)
    }
}
