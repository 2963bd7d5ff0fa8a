internal import Services
internal import Systemd

/// Writes records that have changed by themselves, together and when no client waits; and what was asked for and could
/// not be written, again and again until it is.
@EventLoopActor
final class RecordWriter {
    /// What it asks of its owner.
    struct Owner {
        /// The record of a service as it is now; nil for one that is gone.
        var record: @EventLoopActor (ServiceName) -> ServiceRecord?
        /// Whether an operation is under way, whose client would wait for the disk, too.
        var isBusy: @EventLoopActor () -> Bool
        /// What was asked of a service is on disk now.
        var written: @EventLoopActor (ServiceName) -> Void
        /// Called before each attempt to write.
        var settled: @EventLoopActor () -> Void
        /// Told what could not be written.
        var failed: @EventLoopActor (String) -> Void
    }

    private let records: RecordStore
    private let units: UnitDirectory
    private let removed: RemovedStore
    private let disk: Disk
    private let owner: Owner

    /// Services whose record on disk is older than the one in memory.
    private var unsaved: Set<ServiceName> = []
    /// Services of which a change that was asked for is not on disk: the record, and the files that are derived from
    /// it.
    private var unwritten: Set<ServiceName> = []
    private var isSaving = false
    private var saving: Deferral?
    /// Begins to write when what belongs together has happened.
    private var savingSoon: Timer?
    private var isSavingSoon = false
    /// When the oldest change was made that is not written yet.
    private var changedAt = MonotonicClock.now()
    /// Writes what could not be written.
    private var savingAgain: Timer?
    private var savingDelay = RecordWriter.firstSavingDelay

    /// The interval between attempts to write what could not be written; it doubles with each.
    private static let firstSavingDelay = Duration.seconds(1)
    private static let savingDelayLimit = Duration.seconds(60)
    /// A start is several changes, which come within this time where the machine is not busy: one record instead of
    /// two.
    private static let togetherness = Duration.milliseconds(30)
    /// How long a change waits, at most, for a moment without an operation under way.
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
        savingAgain = try Timer { [weak self] in self?.saving?.request() }
    }

    /// Has a record written with the other changes of this moment.
    func save(_ name: ServiceName) { unsaved.insert(name) }

    /// Has a record and the unit's files written until that succeeds: now they cannot be.
    func writeLater(_ name: ServiceName) {
        unwritten.insert(name)
        unsaved.insert(name)
    }

    /// Whether what was asked of a service is not on disk.
    func isUnwritten(_ name: ServiceName) -> Bool { unwritten.contains(name) }

    /// Takes note that what was asked of a service is on disk, by another way.
    func noteWritten(_ name: ServiceName) {
        guard unwritten.remove(name) != nil else { return }
        var changes = FileChanges()
        records.unmark(name, into: &changes)
        _ = disk.begin(changes)
    }

    /// Forgets a service: it is gone.
    func forget(_ name: ServiceName) {
        unsaved.remove(name)
        unwritten.remove(name)
    }

    /// Has records for the audit written that could not be.
    func writeAuditLater() { savingAgain?.arm(after: savingDelay) }

    /// Something has changed: it is settled and written soon.
    func changed() {
        guard !isSavingSoon else { return }
        isSavingSoon = true
        changedAt = MonotonicClock.now()
        savingSoon?.arm(after: Self.togetherness)
    }

    /// Writes everything on the loop's thread: the last act before the process ends.
    func finish() {
        var changes = FileChanges()
        _ = add(Array(unsaved), to: &changes)
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
        owner.settled()
        guard !isSaving, !unsaved.isEmpty || removed.hasMissing else { return }
        isSaving = true
        EventLoop.start { [weak self] in await self?.saveSome() }
    }

    private func saveSome() async {
        defer { isSaving = false }
        let names = Array(unsaved.prefix(Self.recordsLimit))
        unsaved.subtract(names)
        var changes = FileChanges()
        let audit = add(names, to: &changes)
        if let error = await disk.begin(changes).wait().error {
            let list = names.isEmpty ? "the audit" : names.map(\.description).joined(separator: ", ")
            owner.failed("cannot write the records of \(list): \(error)")
            unsaved.formUnion(names.filter { owner.record($0) != nil })
            savingAgain?.arm(after: savingDelay)
            savingDelay = min(savingDelay * 2, Self.savingDelayLimit)
            return
        }
        savingDelay = Self.firstSavingDelay
        for removed in audit { self.removed.note(removed) }
        // What has changed meanwhile is not on disk yet.
        for name in names where unwritten.contains(name) && !unsaved.contains(name) {
            noteWritten(name)
            owner.written(name)
        }
        if !unsaved.isEmpty { saving?.request() }
    }

    /// Gives back the records of the audit that are among the changes.
    private func add(_ names: [ServiceName], to changes: inout FileChanges) -> [RemovedService] {
        for name in names {
            guard let record = owner.record(name) else { continue }
            records.save(record, into: &changes)
            if unwritten.contains(name), record.phase != .deleting { units.write(record, into: &changes) }
        }
        let audit = removed.hasMissing ? removed.writeMissing(into: &changes) : []
        changes.synchronize()
        return audit
    }
}
