internal import Services
internal import Systemd

/// Writes records that changed without a request, in batches and while no client waits; and retries requested changes
/// that could not be written, until they are.
@EventLoopActor
final class RecordWriter {
    /// Callbacks to the owner.
    struct Owner {
        /// The current record of a service; nil when the service is deleted.
        var record: @EventLoopActor (ServiceName) -> ServiceRecord?
        /// Whether an operation is running: its client would wait for the disk as well.
        var isBusy: @EventLoopActor () -> Bool
        /// Called when the requested change of a service is on disk.
        var written: @EventLoopActor (ServiceName) -> Void
        /// Called before each attempt to write.
        var willWrite: @EventLoopActor () -> Void
        /// Called with an error message when a write fails.
        var failed: @EventLoopActor (String) -> Void
    }

    private let records: RecordStore
    private let units: UnitDirectory
    private let removed: RemovedStore
    private let disk: Disk
    private let owner: Owner

    /// Services whose record on disk is older than the one in memory.
    private var unsaved: Set<ServiceName> = []
    /// Services with a requested change that is not on disk: the record and the files derived from it.
    private var unwritten: Set<ServiceName> = []
    /// Services whose record an operation writes or removes: the one in memory is not to follow it to the disk.
    private var held: Set<ServiceName> = []
    private var isSaving = false
    private var saving: Deferral?
    /// Starts a write ``togetherness`` after the first change.
    private var savingSoon: Timer?
    private var isSavingSoon = false
    /// The time of the oldest change that is not written yet.
    private var changedAt = MonotonicClock.now()
    /// Retries failed writes.
    private var savingAgain: Timer?
    /// Services whose last write has failed, until the retry.
    private var delayed: Set<ServiceName> = []
    private var savingDelay = RecordWriter.firstSavingDelay

    /// The delay before a failed write is retried; it doubles with each failure.
    private static let firstSavingDelay = Duration.seconds(1)
    private static let savingDelayLimit = Duration.seconds(60)
    /// How long changes are collected before a write. On an idle machine all changes of one start arrive within this
    /// time and need one write instead of two.
    private static let togetherness = Duration.milliseconds(30)
    /// The longest time that a change waits for a moment without a running operation.
    private static let waitingLimit = Duration.seconds(1)
    /// The number of records in one batch: an operation that begins meanwhile waits for it.
    private static let recordsLimit = 4

    init(
        _ records: RecordStore,
        _ units: UnitDirectory,
        _ removed: RemovedStore,
        _ disk: Disk,
        _ owner: Owner
    ) throws(SystemError) {
        self.records = records
        self.units = units
        self.removed = removed
        self.disk = disk
        self.owner = owner
        saving = try Deferral { [weak self] in self?.begin() }
        savingSoon = try Timer { [weak self] in self?.beginWhenIdle() }
        savingAgain = try Timer { [weak self] in self?.saveDelayed() }
    }

    /// Marks a record to be written with the next batch.
    func save(_ name: ServiceName) { unsaved.insert(name) }

    /// Marks a record and the unit's files, whose write has failed, to be retried until it succeeds.
    func writeLater(_ name: ServiceName) {
        unwritten.insert(name)
        unsaved.insert(name)
    }

    /// Whether a requested change of a service is not on disk.
    func isUnwritten(_ name: ServiceName) -> Bool { unwritten.contains(name) }

    /// Marks the requested change of a service as written, by another writer than this one.
    func noteWritten(_ name: ServiceName) {
        guard unwritten.remove(name) != nil else { return }
        // Without the mark that it lacks files.
        unsaved.insert(name)
        var changes = FileChanges()
        records.unmark(name, into: &changes)
        _ = disk.begin(changes)
    }

    /// Leaves a service's record to the operation that is under way, until ``release(_:)`` or ``forget(_:)``.
    func hold(_ name: ServiceName) { held.insert(name) }

    /// Writes the record of a service again when it has changed.
    func release(_ name: ServiceName) {
        held.remove(name)
        if unsaved.contains(name) { changed() }
    }

    /// Drops a service that is deleted.
    func forget(_ name: ServiceName) {
        held.remove(name)
        unsaved.remove(name)
        delayed.remove(name)
        unwritten.remove(name)
    }

    /// Retries audit records that could not be written.
    func writeAuditLater() { savingAgain?.arm(after: savingDelay) }

    /// Schedules a write of the changes.
    func changed() {
        guard !isSavingSoon else { return }
        isSavingSoon = true
        changedAt = MonotonicClock.now()
        savingSoon?.arm(after: Self.togetherness)
    }

    /// Writes everything synchronously on the loop's thread. Called last, before the process exits.
    func finish() {
        var changes = FileChanges()
        _ = addRecords(Array(unsaved.union(delayed).subtracting(held)), to: &changes)
        do throws(SystemError) {
            try disk.performNow(changes)
        } catch {
            owner.failed("cannot write the records: \(error)")
        }
    }

    private func beginWhenIdle() {
        let age = MonotonicClock.now().duration(since: changedAt)
        if owner.isBusy(), age < Self.waitingLimit {
            savingSoon?.arm(after: Self.togetherness)
        } else {
            saving?.request()
        }
    }

    private func begin() {
        isSavingSoon = false
        owner.willWrite()
        guard !isSaving, !unsaved.isSubset(of: held) || removed.hasMissing else { return }
        isSaving = true
        EventLoop.start { [weak self] in await self?.saveSome() }
    }

    private func saveSome() async {
        defer { isSaving = false }
        let names = Array(unsaved.subtracting(held).prefix(Self.recordsLimit))
        unsaved.subtract(names)
        var changes = FileChanges()
        let audit = addRecords(names, to: &changes)
        if let error = await disk.begin(changes).wait().error {
            let list = names.isEmpty ? "the audit" : names.map(\.description).joined(separator: ", ")
            return retry(names, "cannot write the records of \(list): \(error)")
        }
        for removed in audit { self.removed.note(removed) }
        // Each on its own: one that fails does not keep the others from the disk.
        for name in names where unwritten.contains(name) { await saveFiles(of: name) }
        if delayed.isEmpty { savingDelay = Self.firstSavingDelay }
        if !unsaved.isSubset(of: held) { saving?.request() }
    }

    /// Writes the files of a unit that could not be written before.
    private func saveFiles(of name: ServiceName) async {
        guard let record = owner.record(name), record.phase != .deleting else { return }
        // The operation that is under way writes them, too.
        guard !held.contains(name) else { return save(name) }
        var changes = FileChanges()
        units.write(record, into: &changes)
        changes.synchronize()
        if let error = await disk.begin(changes).wait().error {
            return retry([name], "cannot write the files of the unit of \(name): \(error)")
        }
        // A service that changed during the write is in `unsaved` again: its newest state is not on disk.
        guard !unsaved.contains(name) else { return }
        noteWritten(name)
        owner.written(name)
    }

    private func retry(_ names: [ServiceName], _ failure: String) {
        owner.failed(failure)
        if delayed.isEmpty {
            savingAgain?.arm(after: savingDelay)
            savingDelay = min(savingDelay * 2, Self.savingDelayLimit)
        }
        delayed.formUnion(names.filter { owner.record($0) != nil })
    }

    private func saveDelayed() {
        unsaved.formUnion(delayed)
        delayed = []
        saving?.request()
    }

    /// Returns the audit records that are part of the changes.
    private func addRecords(_ names: [ServiceName], to changes: inout FileChanges) -> [RemovedService] {
        for name in names {
            guard var record = owner.record(name) else { continue }
            record.lacksFiles = unwritten.contains(name)
            records.save(record, into: &changes)
        }
        let audit = removed.hasMissing ? removed.writeMissing(into: &changes) : []
        changes.synchronize()
        return audit
    }
}
