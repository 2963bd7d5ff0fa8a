internal import Services
internal import Systemd

/// The operations on one service, run in its queue: each writes the desired state and converges on it.
extension Supervisor {
    /// Creates a service and queues its start. Throws `tooManyServices` at the limit, and what keeps the record from
    /// being written.
    func add(_ spec: ServiceSpec) async throws(ControlError) -> Service {
        guard services.count + additions < configuration.servicesLimit else {
            throw .tooManyServices(limit: configuration.servicesLimit)
        }
        additions += 1
        defer { additions -= 1 }
        await awaitLastLines(ofFormer: spec.name)
        var service = ManagedService(try newRecord(spec))
        let record = service.record
        do throws(ControlError) {
            try await store { changes in
                self.records.save(record, into: &changes)
                self.units.write(record, isLinked: false, into: &changes)
            }
        } catch {
            await removeFiles(of: spec.name)
            throw error
        }
        service.intent = .start
        services.insert(service)
        announce(spec.name)
        let failure = await failure { () throws(ControlError) in try await self.converge(spec.name, by: .dispatch) }
        switch failure {
        case nil, .systemdTimeout: break
        // A failure of the service itself, which its status shows.
        case .systemdRefused: establish(spec.name)
        case .superseded: establish(spec.name)
        case let failure?: throw failure
        }
        do throws(ControlError) {
            try await finishFiles(of: spec.name)
        } catch {
            try? await stopUnit(spec.name)
            await removeFiles(of: spec.name)
            forget(spec.name)
            throw error
        }
        if let failure, case .systemdTimeout = failure { throw failure }
        return try find(spec.name).snapshot
    }

    /// Synchronizes the files of a new service and creates its link for boot. Done after systemd has loaded the unit:
    /// systemd reads directories of the same file system, and would wait for that file system's journal.
    private func finishFiles(of name: ServiceName) async throws(ControlError) {
        try await store { changes in
            // The record first, as it may be on another disk: after a power loss a unit that starts at boot has a
            // record.
            self.records.synchronize(into: &changes)
            self.units.setEnabled(true, name, into: &changes)
            self.units.synchronize(into: &changes)
            changes.synchronize()
        }
    }

    /// Replaces the spec of a service, and restarts the service unless it was stopped on request.
    func change(_ name: ServiceName, to spec: ServiceSpec) async throws(ControlError) -> Service {
        try await awaitStart(of: name)
        let before = try find(name)
        let isDrifted = before.snapshot.drift != nil
        // Also a unit that was started by hand after a stop: the answer describes the new spec.
        let isToRun = before.record.isEnabled || !before.state.activeState.isDead
        let hasOtherFiles = try await update(name) { record in
            record.spec = spec
            if isToRun { record.begin(.starting, replacing: before.state) }
        }
        // When no file of the unit has changed (for example only the port), the process needs no restart.
        if isToRun, hasOtherFiles || isDrifted { try await converge(name, orRevertTo: before) }
        establish(name)
        return try find(name).snapshot
    }

    /// Waits for the end of a queued start: it uses the current files, and after it the run has an id that
    /// distinguishes it from the next one.
    private func awaitStart(of name: ServiceName) async throws(ControlError) {
        guard let job = services[name]?.startJob ?? systemd.job(of: UnitName.unit(of: name)) else { return }
        do throws(Obstacle) {
            _ = try await result(of: job)
            try await hearSystemd()
        } catch {
            throw .systemdUnavailable("the start of the service that is under way does not end")
        }
    }

    /// Starts the unit, or restarts it when it is active, and waits for systemd's job.
    func run(_ name: ServiceName) async throws(ControlError) -> Service {
        forgetCrashLoop(of: name)
        let before = try find(name)
        if before.record.isEnabled {
            await repair(before.record)
            services[name]?.record.begin(.starting, replacing: before.state)
        } else {
            await updateLater(name) { record in
                record.isEnabled = true
                record.begin(.starting, replacing: before.state)
            }
        }
        await replaceNewestRun(of: name)
        try await converge(name, by: .restart, orRevertTo: before)
        return try find(name).snapshot
    }

    /// Stops the service and disables it: it stays stopped over a reboot, until the next start.
    func halt(_ name: ServiceName) async throws(ControlError) -> Service {
        forgetCrashLoop(of: name)
        let before = try find(name)
        let names = await updateLater(name, isSynchronizedMeanwhile: true) { record in
            record.isEnabled = false
            record.begin(.stopping)
        }
        try await converge(name, orRevertTo: before)
        await finish(names, name)
        return try find(name).snapshot
    }

    /// Stops a service and removes all of it.
    func remove(_ name: ServiceName, by requester: Requester) async throws(ControlError) {
        let before = try find(name)
        if before.record.phase != .deleting { await beginRemoval(name, by: requester) }
        try await converge(name, orRevertTo: before)
    }

    /// Converges; restores the earlier record when systemd refuses. Throws the failure.
    private func converge(
        _ name: ServiceName,
        by method: StartMethod = .stopAndStart,
        orRevertTo before: ManagedService
    ) async throws(ControlError) {
        do throws(ControlError) {
            try await converge(name, by: method)
        } catch .systemdRefused(let reason) {
            await revert(name, to: before)
            throw .systemdRefused(reason)
        } catch .superseded {
            await revert(name, to: before)
            throw .superseded
        }
    }

    private func failure(_ call: () async throws(ControlError) -> Void) async -> ControlError? {
        do throws(ControlError) {
            try await call()
            return nil
        } catch {
            return error
        }
    }

    // MARK: Steps on disk

    /// Changes the record and the derived files, on disk first and durably. Throws when a file cannot be written: then
    /// nothing has changed. Returns whether a file that systemd reads has changed.
    private func update(
        _ name: ServiceName,
        _ change: (inout ServiceRecord) -> Void
    ) async throws(ControlError) -> Bool {
        let before = try find(name)
        var record = changed(before.record, change)
        var files = 0..<0
        writer.hold(name)
        defer { writer.release(name) }
        let result = await result { changes in
            self.records.save(record.writtenFirst, into: &changes)
            files = self.units.write(record, into: &changes)
            changes.synchronize()
        }
        guard let result else {
            await revert(name, to: before)
            throw .storageTimeout(Self.silence)
        }
        if let error = result.error {
            // When the record itself could not be written, the former one is in place.
            if !result.isChanged.isEmpty { await revert(name, to: before) }
            throw ControlError(error)
        }
        // The run may have ended during the write.
        record.run = services[name]?.record.run ?? record.run
        services[name]?.record = record
        // The one on disk says that the files may not be written.
        if record.phase == .established { save(name) }
        await replaceNewestRun(of: name)
        findDrift(of: name)
        announce(name)
        return result.isChanged(files)
    }

    /// Makes the newest run the one that a start replaces: systemd may have started another run, of the former files,
    /// while the record was written.
    private func replaceNewestRun(of name: ServiceName) async {
        while let service = services[name], service.record.phase == .starting, !service.state.activeState.isDead,
            let run = service.state.invocationID, run != service.record.replacedRun
        {
            services[name]?.record.replacedRun = run
            guard let record = services[name]?.record else { return }
            await storeOrLater(record) { changes in
                self.records.save(record, into: &changes)
                changes.synchronize()
            }
        }
    }

    /// The same for operations that must work without the disk: a failed write is retried later. The names are durable
    /// on return; with `isSynchronizedMeanwhile` when the returned work is done.
    @discardableResult
    private func updateLater(
        _ name: ServiceName,
        isSynchronizedMeanwhile: Bool = false,
        _ change: (inout ServiceRecord) -> Void
    ) async -> Disk.Work? {
        guard let before = services[name]?.record else { return nil }
        let record = changed(before, change)
        services[name]?.record = record
        await storeOrLater(record) { changes in
            self.records.save(record, into: &changes)
            self.units.write(record, into: &changes)
            if !isSynchronizedMeanwhile { changes.synchronize() }
        }
        findDrift(of: name)
        announce(name)
        return isSynchronizedMeanwhile ? begin { self.synchronizeNames(into: &$0) } : nil
    }

    private func synchronizeNames(into changes: inout FileChanges) {
        records.synchronize(into: &changes)
        units.synchronize(into: &changes)
        changes.synchronize(units.wantsDirectory)
    }

    /// Waits until the names are durable; a failure is retried later.
    private func finish(_ names: Disk.Work?, _ name: ServiceName) async {
        guard let names else { return }
        guard let result = await names.wait(atMost: configuration.diskPatience) else {
            return writeLater(name, because: .diskHangs)
        }
        if let error = result.error, !error.isNotFound { writeLater(name, because: PendingChange.Reason(error)) }
    }

    private func changed(_ record: ServiceRecord, _ change: (inout ServiceRecord) -> Void) -> ServiceRecord {
        var record = record
        change(&record)
        record.updatedAt = Self.now()
        return record
    }

    /// Writes the requested removal and its requester, as far as the disk allows.
    private func beginRemoval(_ name: ServiceName, by requester: Requester) async {
        guard let before = services[name]?.record else { return }
        let record = changed(before) { record in
            record.isEnabled = false
            record.begin(.deleting)
            record.deletedBy = requester
        }
        services[name]?.record = record
        announce(name)
        await storeOrLater(record) { changes in
            self.records.save(record, into: &changes)
            self.units.setEnabled(false, name, into: &changes)
            // Reserves disk space for the audit record; if there is none, the removed files will free some.
            self.removed.reserve(for: RemovedService(record), into: &changes)
        }
        _ = begin { self.synchronizeNames(into: &$0) }
    }

    /// Rewrites the derived files from the record, in case a person has changed them.
    private func repair(_ record: ServiceRecord) async {
        let name = record.spec.name
        let result = await result { self.units.write(record, into: &$0) }
        if result == nil { writeLater(name, because: .diskHangs) }
        if let error = result?.error { writeLater(name, because: PendingChange.Reason(error)) }
        findDrift(of: name)
    }

    /// Restores an earlier record.
    private func revert(_ name: ServiceName, to before: ManagedService) async {
        guard let current = services[name] else { return }
        var record = before.record
        record.run = current.record.run
        services[name]?.record = record
        let result = await result { changes in
            if current.record.phase == .deleting {
                self.removed.release(RemovedService(current.record), into: &changes)
            }
            self.records.save(record.writtenFirst, into: &changes)
            self.units.write(record, into: &changes)
            changes.synchronize()
        }
        save(name)
        if result == nil { writeLater(name, because: .diskHangs) }
        if let error = result?.error { writeLater(name, because: PendingChange.Reason(error)) }
        if let result, result.error == nil { written(name) }
        let isUp = !(systemd.state(of: name)?.activeState ?? .inactive).isDead
        guard !isUp, record.isEnabled, before.snapshot.status.isUp else {
            return intend(isUp ? .none : before.intent, name)
        }
        // The old run was stopped before systemd refused the new one: it is started again.
        services[name]?.record.begin(.starting)
        intend(.start, name)
        retryLater(name)
    }

    /// Removes the files of a service whose creation failed. A disk that hangs does it when it answers.
    private func removeFiles(of name: ServiceName) async {
        let result = await result { changes in
            // The record first: without it the remaining files are not a service.
            self.records.remove(name, into: &changes)
            changes.synchronize()
            self.units.remove(name, into: &changes)
            changes.synchronize()
        }
        guard let error = result?.error else { return }
        notice(.error, "cannot remove the files of a service that was not created: \(error)", name)
    }

    /// Marks the outstanding change as done. It is written with the next batch: an agent that dies before that finds it
    /// done in the journal, or repeats it.
    func establish(_ name: ServiceName) {
        guard services[name]?.record.phase != .established else { return }
        services[name]?.record.phase = .established
        services[name]?.record.replacedRun = nil
        retries[name] = nil
        if !writer.isUnwritten(name) { services[name]?.remarks.pending = nil }
        save(name)
    }

    func forget(_ name: ServiceName) {
        if let service = services.remove(name) { announceRemoval(of: service) }
        retries[name] = nil
        crashLoops?.forget(name)
        systemd.forgetState(of: name)
        journalNews.wake()
        writer.forget(name)
        tell(name)
    }

    /// Stores what was requested and does not yet show in the unit's state.
    func intend(_ intent: ServiceStatus.Intent, _ name: ServiceName) {
        services[name]?.intent = intent
        announce(name)
    }

    /// A new record. A running unit of that name without a record will be replaced.
    private func newRecord(_ spec: ServiceSpec) throws(ControlError) -> ServiceRecord {
        do throws(SystemError) {
            var record = ServiceRecord(id: try Identifier.random().description, spec: spec, createdAt: Self.now())
            if let state = systemd.state(of: spec.name) { record.begin(.starting, replacing: state) }
            return record
        } catch {
            throw ControlError(error)
        }
    }

    private static func now() -> Timestamp { Timestamp(microseconds: WallClock.now().microseconds) }
}

extension ServiceStatus {
    /// Whether the service can be stopped.
    var isUp: Bool { self == .starting || self == .running }
}

extension ServiceRecord {
    /// Sets the outstanding change; a start replaces the current run.
    fileprivate mutating func begin(_ phase: Phase, replacing state: UnitState? = nil) {
        self.phase = phase
        replacedRun = state.flatMap { $0.activeState.isDead ? nil : $0.invocationID }
    }
}

extension RemovedService {
    /// The audit record of a deletion in progress.
    init(_ record: ServiceRecord) {
        let nobody = Requester(uid: nil, requestID: "none")
        self.init(record, removedAt: record.updatedAt, removedBy: record.deletedBy ?? nobody)
    }
}
