internal import Services
internal import Systemd

/// The owner of what was asked for: the records in memory and on disk, and which part of them is not reached yet.
@EventLoopActor
final class DesiredState {
    let records: RecordStore
    let units: UnitDirectory
    let removed: RemovedStore
    let runs: RunStore
    let disk = Disk.shared
    /// How long an operation waits for the disk.
    let diskPatience: Duration
    private let services: ServiceTable
    private let announcements: Announcements
    private let changes: Changes
    let messages: MessageLog
    private let bootID: String
    private var recordWriter: RecordWriter?
    /// Set in the initializer.
    private var writer: RecordWriter { recordWriter! }

    /// `isBusy` tells whether an operation is running, whose client would wait for the disk; `willWrite` is called
    /// before each attempt to write. Throws when a timer cannot be made.
    init(
        _ layout: StateLayout,
        bootID: String,
        diskPatience: Duration,
        _ services: ServiceTable,
        _ announcements: Announcements,
        _ changes: Changes,
        _ messages: MessageLog,
        isBusy: @escaping @EventLoopActor () -> Bool,
        willWrite: @escaping @EventLoopActor () -> Void
    ) throws(SystemError) {
        records = RecordStore(layout)
        units = UnitDirectory(layout)
        removed = RemovedStore(layout)
        runs = RunStore(layout)
        self.bootID = bootID
        self.diskPatience = diskPatience
        self.services = services
        self.announcements = announcements
        self.changes = changes
        self.messages = messages
        recordWriter = try RecordWriter(
            records,
            units,
            removed,
            disk,
            RecordWriter.Owner(
                record: { services[$0]?.storedRecord },
                isBusy: isBusy,
                written: { [weak self] in self?.noPendingWrite(of: $0) },
                willWrite: willWrite,
                failed: { messages.notice(.error, $0) }
            )
        )
    }

    // MARK: At the start of the agent

    /// Reads the records into the table, and repairs what an interrupted operation left. Returns the files of records
    /// that could not be read. Throws when a directory cannot be read or written.
    func load() throws(SystemError) -> [String] {
        try units.prepare()
        try records.prepare()
        try removed.prepare()
        try units.removeTemporaries()
        let (loaded, unreadable, marked) = try records.load()
        for file in unreadable { messages.notice(.error, "cannot read the record '\(file.file)': \(file.reason)") }
        // The record of one of these services may not be readable.
        let aside = try records.unreadableFiles(unreadable.map(\.file))
        try runs.prepare(for: aside.isEmpty ? Set(loaded.map(\.id)) : nil)
        for record in loaded { adopt(record) }
        for name in marked { writeLater(name, because: nil) }
        return aside
    }

    private func adopt(_ stored: ServiceRecord) {
        var record = stored
        record.lacksFiles = false
        if record.isToRun, !record.spec.isEnabled, record.run.bootID != bootID, record.phase == .established {
            // It does not start at boot.
            record.isToRun = false
        }
        let name = record.spec.name
        services.insert(ManagedService(record, runBeforeAbsence: record.run))
        guard record.phase != .deleting else { return }
        guard record.phase == .established, !stored.lacksFiles else {
            // The operation was interrupted, or had no room for the files.
            writeNow(name) { self.units.write(record, into: &$0) }
            if stored.lacksFiles { save(name) }
            return
        }
        // Changes of the other files by a person are shown and not undone.
        writeNow(name) { self.units.writeEnvironment(of: record, into: &$0) }
    }

    /// Writes synchronously, before the loop runs.
    private func writeNow(_ name: ServiceName, _ change: (inout FileChanges) -> Void) {
        var changes = FileChanges()
        change(&changes)
        changes.synchronize()
        do throws(SystemError) {
            try disk.performNow(changes)
        } catch {
            messages.notice(.error, "cannot write what was asked for; it is tried again: \(error)", name)
            writeLater(name, because: PendingChange.Reason(error))
        }
    }

    /// Writes everything synchronously on the loop's thread. Called last, before the process exits.
    func finish() { writer.finish() }

    // MARK: What was asked for

    /// Makes a record the desired state.
    func set(_ record: ServiceRecord) {
        let name = record.spec.name
        services.change(name) { $0.record = record }
    }

    /// Sets the outstanding change; a start replaces the run that is in `state`.
    func begin(_ phase: ServiceRecord.Phase, _ name: ServiceName, replacing state: UnitState? = nil) {
        services.change(name) { $0.record.begin(phase, replacing: state) }
    }

    /// Stores what was requested and does not yet show in the unit's state.
    func intend(_ intent: ServiceStatus.Intent, _ name: ServiceName) {
        services.change(name) { $0.intent = intent }
        announcements.announce(name)
        // The status depends on it.
        changes.tell(name)
    }

    /// Marks the outstanding change as done. It is written with the next batch: an agent that dies before that finds it
    /// done in the journal, or repeats it.
    func establish(_ name: ServiceName) {
        guard let phase = services[name]?.record.phase, phase != .established else { return }
        let isUnwritten = writer.isUnwritten(name)
        services.change(name) { service in
            service.record.begin(.established)
            if !isUnwritten { service.remarks.pending = nil }
        }
        save(name)
    }

    /// Shows the outstanding change and what it waits for.
    func showPending(_ name: ServiceName, because reason: PendingChange.Reason) {
        guard let record = services[name]?.record else { return }
        services.change(name) { $0.remarks.pending = PendingChange(of: record, reason) }
        announcements.announce(name)
    }

    /// Follows another client of systemd: the unit's state becomes the desired state.
    func follow(isUp: Bool, _ name: ServiceName) {
        services.change(name) { $0.record.isToRun = isUp }
        intend(isUp ? .none : .stop, name)
        writeLater(name, because: nil)
        establish(name)
    }

    /// Removes a service from memory.
    func forget(_ name: ServiceName) {
        if let service = services.remove(name) { announcements.announceRemoval(of: service) }
        writer.forget(name)
        tell(name)
    }

    /// Leaves a service's record to the operation that is under way, until ``release(_:)`` or ``forget(_:)``.
    func hold(_ name: ServiceName) { writer.hold(name) }

    /// Writes the record of a service again when it has changed.
    func release(_ name: ServiceName) { writer.release(name) }

    // MARK: What follows from a change

    /// Writes the record of a service.
    func save(_ record: ServiceRecord, into changes: inout FileChanges) {
        records.save(services[record.spec.name]?.stored(record) ?? record, into: &changes)
    }

    /// Marks the record to be written to disk with the next batch.
    func save(_ name: ServiceName) {
        writer.save(name)
        announcements.announce(name)
        writer.changed()
    }

    /// Marks a requested change, whose write has failed, to be retried.
    func writeLater(_ name: ServiceName, because reason: PendingChange.Reason?) {
        writer.writeLater(name)
        if let reason { showPending(name, because: reason) }
        announcements.announce(name)
        writer.changed()
    }

    /// Retries audit records that could not be written.
    func writeAuditLater() { writer.writeAuditLater() }

    /// Whether a requested change of a service is not on disk.
    func isUnwritten(_ name: ServiceName) -> Bool { writer.isUnwritten(name) }

    /// Marks a requested change as written to disk.
    func written(_ name: ServiceName) {
        writer.noteWritten(name)
        noPendingWrite(of: name)
    }

    private func noPendingWrite(of name: ServiceName) {
        guard let service = services[name], service.record.phase == .established else { return }
        services.change(name) { $0.remarks.pending = nil }
        announcements.announce(name)
    }

    /// Wakes the requests that wait for a change of the service.
    func tell(_ name: ServiceName) {
        changes.tell(name)
        writer.changed()
    }

    /// Marks the record of a run that has changed to be written with the next ``tell(_:)``, which announces it as well.
    func noteRun(_ name: ServiceName) { writer.save(name) }

    /// Schedules a write of the changes.
    func flush() { writer.changed() }
}

extension ServiceRecord {
    /// Sets the outstanding change; a start replaces the current run.
    mutating func begin(_ phase: Phase, replacing state: UnitState? = nil) {
        self.phase = phase
        replacedRun = state.flatMap { $0.activeState.isDead ? nil : $0.invocationID }
    }
}

extension PendingChange {
    /// The outstanding change of a record.
    convenience init(of record: ServiceRecord, _ reason: Reason) {
        let operation: Operation
        switch record.phase {
        case .starting: operation = .start
        case .stopping: operation = .stop
        case .deleting: operation = .delete
        case .established: operation = record.isToRun ? .start : .stop
        }
        self.init(operation, since: record.updatedAt, reason: reason)
    }
}
