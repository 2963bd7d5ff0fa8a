internal import Services
internal import Systemd

/// The operations on one service, run in its queue: each writes the desired state and converges on it.
@EventLoopActor
final class Operations {
    private let services: ServiceTable
    private let desired: DesiredState
    private let convergence: Convergence
    private let observation: Observation
    private let systemd: SystemdClient
    private let announcements: Announcements
    private let messages: MessageLog
    /// The maximum number of services.
    private let servicesLimit: Int
    /// The services in creation that are not in the table yet, by the account that creates them.
    private var additions: [UInt32?: Int] = [:]

    init(
        _ services: ServiceTable,
        _ desired: DesiredState,
        _ convergence: Convergence,
        _ observation: Observation,
        _ systemd: SystemdClient,
        _ announcements: Announcements,
        _ messages: MessageLog,
        servicesLimit: Int
    ) {
        self.services = services
        self.desired = desired
        self.convergence = convergence
        self.observation = observation
        self.systemd = systemd
        self.announcements = announcements
        self.messages = messages
        self.servicesLimit = servicesLimit
    }

    /// Creates a service, and queues its start unless `starts` is false. Throws `tooManyServices` at the limit, and the
    /// failure of a write.
    func create(_ spec: ServiceSpec, starts: Bool = true) async throws(ControlError) -> Service {
        if let reason = spec.name.problemOfNew { throw .nameReserved(reason) }
        try UnitFile.requireSupport(for: spec, bySystemd: systemd.version)
        guard services.count + additions.values.reduce(0, +) < servicesLimit else {
            throw .tooManyServices(limit: servicesLimit)
        }
        if let account = spec.account { try requireRoom(for: account) }
        additions[spec.account, default: 0] += 1
        defer { additions[spec.account, default: 0] -= 1 }
        await awaitLastLines(ofFormer: spec.name)
        var service = ManagedService(try newRecord(spec, starts: starts))
        let record = service.record
        do throws(ControlError) {
            try await desired.store { changes in
                self.desired.save(record.writtenFirst, into: &changes)
                self.desired.units.write(record, isLinked: false, into: &changes)
            }
        } catch {
            await removeFiles(of: spec.name)
            throw error
        }
        service.intent = starts ? .start : .stop
        services.insert(service)
        announcements.announce(spec.name)
        let failure = await failure { () throws(ControlError) in
            if starts {
                try await self.convergence.converge(spec.name, by: .dispatch)
            } else if self.systemd.state(of: spec.name)?.activeState.isDead == false {
                // A running unit of that name without a record.
                try await self.convergence.stop(spec.name)
            }
        }
        switch failure {
        case nil, .systemdTimeout: break
        // A failure of the service itself, which its status shows.
        case .systemdRefused: convergence.establish(spec.name)
        case .superseded: convergence.establish(spec.name)
        case let failure?: throw failure
        }
        do throws(ControlError) {
            try await finishFiles(of: record)
            // The one on disk says that the files may not be written.
            if !starts { desired.save(spec.name) }
        } catch {
            try? await convergence.stopUnit(spec.name)
            await removeFiles(of: spec.name)
            convergence.forget(spec.name)
            throw error
        }
        if let failure, case .systemdTimeout = failure { throw failure }
        return try find(spec.name).snapshot
    }

    /// Throws `tooManyServices` when an account has as many services as it may have.
    private func requireRoom(for account: UInt32) throws(ControlError) {
        let count = services.entries.count { $0.service.record.spec.account == account }
        guard count + additions[account, default: 0] < Account.servicesLimit else {
            throw .tooManyServices(limit: Account.servicesLimit)
        }
    }

    /// Before a name is used again: waits until journald has written the last lines of the former service of that name,
    /// which it could not distinguish from the next one's.
    private func awaitLastLines(ofFormer name: ServiceName) async {
        guard convergence.hasRemoved(name, within: Logs.journalDelay) else { return }
        await JournalSync.synchronize(within: Logs.journalPatience)
    }

    private func find(_ name: ServiceName) throws(ControlError) -> ManagedService {
        guard let service = services[name] else { throw .serviceNotFound }
        return service
    }

    /// Synchronizes the files of a new service and creates its link for boot. Done after systemd has loaded the unit:
    /// systemd reads directories of the same file system, and would wait for that file system's journal.
    private func finishFiles(of record: ServiceRecord) async throws(ControlError) {
        try await desired.store { changes in
            // The record first, as it may be on another disk: after a power loss a unit that starts at boot has a
            // record.
            self.desired.records.synchronize(into: &changes)
            self.desired.units.setEnabled(record.isLinked, record.spec.name, into: &changes)
            self.desired.units.synchronize(into: &changes)
            changes.synchronize()
        }
    }

    /// Replaces the spec of a service. Restarts the service where a field takes that, unless it was stopped on request
    /// or `restarts` is false.
    func replace(
        _ name: ServiceName,
        with spec: ServiceSpec,
        restarts: Bool = true
    ) async throws(ControlError) -> Service {
        try await awaitStart(of: name)
        let before = try find(name)
        try UnitFile.requireSupport(for: spec, bySystemd: systemd.version)
        let changed = spec.differences(from: before.record.spec)
        // Without a difference the files may be another version's.
        let isRestart = restarts && (changed.isEmpty || changed.contains { $0.restarts })
        if let account = spec.account, before.record.spec.account != account { try requireRoom(for: account) }
        let isRepair = restarts && before.snapshot.drift != nil
        // Also a unit that was started by hand after a stop: the answer describes the new spec.
        let isToRun = before.record.isExpectedToRun || !before.state.activeState.isDead
        let limits = before.record.spec.limits.properties(for: spec.limits)
        if !isRestart, limits?.isEmpty != true, let path = before.snapshot.dropIns.first(where: Self.isProperty) {
            throw .systemdRefused(
                "the drop-in '\(path)' sets properties of the unit: remove it, or restart the service"
            )
        }
        let isLive = limits != nil && before.snapshot.dropIns.isEmpty
        let isOutdated = changed.contains { $0.restarts } || !isLive && spec.limits != before.record.spec.limits
        let outdatedRun = isOutdated && !isRestart ? before.state.invocationID : nil
        let changes = try await update(name) { record in
            record.spec = spec
            for field in changed where !record.changedFields.contains(field.key) {
                record.changedFields.append(field.key)
            }
            if isToRun, isRestart || isRepair { record.begin(.starting, replacing: before.state) }
            if let outdatedRun { record.outdatedRun = outdatedRun }
        }
        let hasOtherFiles = changes.hasFiles && isRestart
        // When no file of the unit has changed (for example only the port), the process needs no restart.
        if hasOtherFiles || isRepair {
            if !isToRun { await replaceRunStartedByHand(of: name) }
            if services[name]?.record.phase == .starting { try await converge(name, orRevertTo: before) }
        }
        convergence.establish(name)
        if changes.hasUnitFile, !hasOtherFiles, !isRepair, let service = services[name],
            !service.state.activeState.isDead
        {
            if isLive, let limits, !limits.isEmpty, await !convergence.apply(limits, to: name) {
                // They come with the next start.
                services.change(name) { $0.record.outdatedRun = $0.state.invocationID }
                desired.save(name)
            }
            // The unit is loaded: systemd would start it again by itself from the former file.
            await convergence.reload()
        }
        return try find(name).snapshot
    }

    /// Whether a drop-in is one that `systemctl set-property` has written.
    private static func isProperty(_ path: String) -> Bool {
        path.split(separator: "/" as Character).contains("system.control")
    }

    /// Waits for the end of a queued start: it uses the current files, and after it the run has an id that
    /// distinguishes it from the next one.
    private func awaitStart(of name: ServiceName) async throws(ControlError) {
        // An automatic restart may wait for long.
        guard services[name]?.state.isRestarting != true,
            let job = services[name]?.startJob ?? systemd.job(of: UnitName.unit(of: name))
        else { return }
        do throws(Obstacle) {
            _ = try await convergence.result(of: job)
            try await convergence.roundTrip()
        } catch {
            throw .systemdUnavailable("the start of the service that is under way does not end")
        }
    }

    /// Starts the unit, or restarts it when it is active, and waits for systemd's job.
    func start(_ name: ServiceName) async throws(ControlError) -> Service {
        observation.forgetCrashLoop(of: name)
        let before = try find(name)
        if before.record.isToRun, !before.record.isUnstarted {
            await repair(before.record)
            desired.begin(.starting, name, replacing: before.state)
        } else {
            await updateLater(name) { record in
                record.isToRun = true
                record.isUnstarted = false
                record.begin(.starting, replacing: before.state)
            }
        }
        await replaceNewestRun(of: name)
        try await converge(name, by: .restart, orRevertTo: before)
        return try find(name).snapshot
    }

    /// Stops the service and disables it: it stays stopped over a reboot, until the next start.
    func stop(_ name: ServiceName) async throws(ControlError) -> Service {
        observation.forgetCrashLoop(of: name)
        let before = try find(name)
        let names = await updateLater(name, isSynchronizedMeanwhile: true) { record in
            record.isToRun = false
            record.isUnstarted = false
            record.begin(.stopping)
        }
        try await converge(name, orRevertTo: before)
        await finish(names, name)
        return try find(name).snapshot
    }

    /// Stops a service and removes all of it.
    func delete(_ name: ServiceName, by requester: Requester) async throws(ControlError) {
        let before = try find(name)
        if before.record.phase != .deleting { await beginRemoval(name, by: requester) }
        try await converge(name, orRevertTo: before)
    }

    /// Converges; restores the earlier record when systemd refuses. Throws the failure.
    private func converge(
        _ name: ServiceName,
        by method: Convergence.StartMethod = .stopAndStart,
        orRevertTo before: ManagedService
    ) async throws(ControlError) {
        do throws(ControlError) {
            try await convergence.converge(name, by: method)
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
    ) async throws(ControlError) -> (hasFiles: Bool, hasUnitFile: Bool) {
        let before = try find(name)
        var record = changed(before.record, change)
        var files = UnitDirectory.Written()
        desired.hold(name)
        defer { desired.release(name) }
        let result = await desired.result { changes in
            self.desired.save(record.writtenFirst, into: &changes)
            files = self.desired.units.write(record, into: &changes)
            changes.synchronize()
        }
        guard let result else {
            await revert(name, to: before)
            throw .storageTimeout(DesiredState.silence)
        }
        if let error = result.error {
            // When the record itself could not be written, the former one is in place.
            if !result.isChanged.isEmpty { await revert(name, to: before) }
            throw ControlError(error)
        }
        // The run may have ended during the write.
        record.run = services[name]?.record.run ?? record.run
        desired.set(record)
        // The one on disk says that the files may not be written.
        if record.phase == .established { desired.save(name) }
        await replaceNewestRun(of: name)
        observation.findDrift(of: name)
        announcements.announce(name)
        return (result.isChanged(files.all), result.isChanged(files.unitFile))
    }

    /// Has a start replace a run that was started by hand, from the former files, while the record of a stopped service
    /// was written.
    private func replaceRunStartedByHand(of name: ServiceName) async {
        guard let service = services[name], !service.state.activeState.isDead else { return }
        desired.begin(.starting, name)
        await replaceNewestRun(of: name)
    }

    /// Makes the newest run the one that a start replaces: systemd may have started another run, of the former files,
    /// while the record was written.
    private func replaceNewestRun(of name: ServiceName) async {
        while let service = services[name], service.record.phase == .starting, !service.state.activeState.isDead,
            let run = service.state.invocationID, run != service.record.replacedRun
        {
            desired.begin(.starting, name, replacing: service.state)
            guard let record = services[name]?.record else { return }
            await desired.storeOrLater(record) { changes in
                self.desired.save(record, into: &changes)
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
        desired.set(record)
        await desired.storeOrLater(record) { changes in
            self.desired.save(record, into: &changes)
            self.desired.units.write(record, into: &changes)
            if !isSynchronizedMeanwhile { changes.synchronize() }
        }
        observation.findDrift(of: name)
        announcements.announce(name)
        return isSynchronizedMeanwhile ? desired.begin { self.synchronizeNames(into: &$0) } : nil
    }

    private func synchronizeNames(into changes: inout FileChanges) {
        desired.records.synchronize(into: &changes)
        desired.units.synchronize(into: &changes)
        changes.synchronize(desired.units.wantsDirectory)
    }

    /// Waits until the names are durable; a failure is retried later.
    private func finish(_ names: Disk.Work?, _ name: ServiceName) async {
        guard let names else { return }
        guard let result = await names.wait(atMost: desired.diskPatience) else {
            return desired.writeLater(name, because: .diskHangs)
        }
        if let error = result.error, !error.isNotFound {
            desired.writeLater(name, because: PendingChange.Reason(error))
        }
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
            record.isToRun = false
            record.begin(.deleting)
            record.deletedBy = requester
        }
        desired.set(record)
        announcements.announce(name)
        await desired.storeOrLater(record) { changes in
            self.desired.save(record, into: &changes)
            self.desired.units.setEnabled(false, name, into: &changes)
            // Reserves disk space for the audit record; if there is none, the removed files will free some.
            self.desired.removed.reserve(for: RemovedService(record), into: &changes)
        }
        _ = desired.begin { self.synchronizeNames(into: &$0) }
    }

    /// Rewrites the derived files from the record, in case a person has changed them.
    private func repair(_ record: ServiceRecord) async {
        let name = record.spec.name
        let result = await desired.result { self.desired.units.write(record, into: &$0) }
        if result == nil { desired.writeLater(name, because: .diskHangs) }
        if let error = result?.error { desired.writeLater(name, because: PendingChange.Reason(error)) }
        observation.findDrift(of: name)
    }

    /// Restores an earlier record.
    private func revert(_ name: ServiceName, to before: ManagedService) async {
        guard let current = services[name] else { return }
        var record = before.record
        record.run = current.record.run
        desired.set(record)
        let result = await desired.result { changes in
            if current.record.phase == .deleting {
                self.desired.removed.release(RemovedService(current.record), into: &changes)
            }
            self.desired.save(record.writtenFirst, into: &changes)
            self.desired.units.write(record, into: &changes)
            if record.phase == .established { self.desired.save(record, into: &changes) }
            changes.synchronize()
        }
        if result == nil { desired.writeLater(name, because: .diskHangs) }
        if let error = result?.error { desired.writeLater(name, because: PendingChange.Reason(error)) }
        if let result, result.error == nil { desired.written(name) }
        let isUp = !(systemd.state(of: name)?.activeState ?? .inactive).isDead
        guard !isUp, record.isToRun, before.snapshot.status.isUp else {
            return desired.intend(isUp ? .none : before.intent, name)
        }
        // The old run was stopped before systemd refused the new one: it is started again.
        desired.begin(.starting, name)
        desired.intend(.start, name)
        convergence.retryLater(name)
    }

    /// Removes the files of a service whose creation failed. A disk that hangs does it when it answers.
    private func removeFiles(of name: ServiceName) async {
        let result = await desired.result { changes in
            // The record first: without it the remaining files are not a service.
            self.desired.records.remove(name, into: &changes)
            changes.synchronize()
            self.desired.units.remove(name, into: &changes)
            changes.synchronize()
        }
        guard let error = result?.error else { return }
        messages.notice(.error, "cannot remove the files of a service that was not created: \(error)", name)
    }

    /// A new record. A running unit of that name without a record will be replaced.
    private func newRecord(_ spec: ServiceSpec, starts: Bool) throws(ControlError) -> ServiceRecord {
        do throws(SystemError) {
            var record = ServiceRecord(id: try Identifier.random().description, spec: spec, createdAt: Self.now())
            guard starts else {
                record.phase = .established
                record.isToRun = spec.isEnabled
                record.isUnstarted = true
                return record
            }
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

extension RemovedService {
    /// The audit record of a deletion in progress.
    init(_ record: ServiceRecord) {
        let nobody = Requester(uid: nil, requestID: "none")
        self.init(record, removedAt: record.updatedAt, removedBy: record.deletedBy ?? nobody)
    }
}
