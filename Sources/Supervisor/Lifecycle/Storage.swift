internal import Services
internal import Systemd

/// Writing to the disk what was asked for. A disk that is slow or hangs keeps the operation on one service, and nothing
/// else: the changes are made by ``Disk``.
extension Supervisor {
    /// Makes changes that an operation cannot do without. Throws `storageTimeout` when the disk takes too long; they
    /// are made all the same once it answers.
    @discardableResult
    func store(_ change: (inout FileChanges) -> Void) async throws(ControlError) -> FileResult {
        guard let result = await result(of: change) else { throw .storageTimeout(Self.silence) }
        if let error = result.error { throw ControlError(error) }
        return result
    }

    /// The same on the way to what was asked for.
    @discardableResult
    func reachDisk(_ change: (inout FileChanges) -> Void) async throws(Obstacle) -> FileResult {
        guard let result = await result(of: change) else { throw .storageHangs }
        if let error = result.error { throw .storage(error) }
        return result
    }

    /// What has become of changes; nil when the disk takes too long.
    func result(of change: (inout FileChanges) -> Void) async -> FileResult? {
        await begin(change).wait(atMost: configuration.diskPatience)
    }

    /// Has changes made, after those that were begun before.
    func begin(_ change: (inout FileChanges) -> Void) -> Disk.Work {
        var changes = FileChanges()
        change(&changes)
        return disk.begin(changes)
    }

    /// Makes a record and the unit's files say what is wanted, for an operation that goes on without the disk; a
    /// failure is tried again.
    func storeOrLater(_ record: ServiceRecord, _ change: (inout FileChanges) -> Void) async {
        let name = record.spec.name
        guard let result = await result(of: change) else { return writeLater(name, because: .diskHangs) }
        guard let error = result.error else { return }
        // To rename the record and to change the link takes no room.
        _ = await self.result { changes in
            self.records.mark(name, record.phase, into: &changes)
            self.units.setEnabled(record.isEnabled, name, into: &changes)
            changes.synchronize()
        }
        notice(.error, "cannot write what was asked for; it is tried again: \(error)", name)
        writeLater(name, because: PendingChange.Reason(error))
    }

    static let silence = "it takes longer than the agent waits"
}

extension ControlError {
    init(_ error: SystemError) {
        self = error.isStorageFull ? .storageFull(error.description) : .storageFailed(error.description)
    }
}

extension PendingChange.Reason {
    init(_ error: SystemError) { self = error.isStorageFull ? .diskFull : .diskFailed }
}
