internal import Services
internal import Systemd

/// Writes of requested changes. A disk that is slow or hangs delays the operation on one service and nothing else: the
/// changes are made by ``Disk``.
extension DesiredState {
    /// Makes changes that an operation depends on. Throws `storageTimeout` when the disk takes too long (the changes
    /// are still made once it answers), `storageFull` or `storageFailed` when a change fails.
    @discardableResult
    func store(_ change: (inout FileChanges) -> Void) async throws(ControlError) -> FileResult {
        guard let result = await result(of: change) else { throw .storageTimeout(Self.silence) }
        if let error = result.error { throw ControlError(error) }
        return result
    }

    /// The same for convergence. Throws `storageHangs` or `storage`.
    @discardableResult
    func reachDisk(_ change: (inout FileChanges) -> Void) async throws(Obstacle) -> FileResult {
        guard let result = await result(of: change) else { throw .storageHangs }
        if let error = result.error { throw .storage(error) }
        return result
    }

    /// The result of changes; nil when the disk takes longer than `diskPatience`.
    func result(of change: (inout FileChanges) -> Void) async -> FileResult? {
        await begin(change).wait(atMost: diskPatience)
    }

    /// Queues changes behind the earlier ones.
    func begin(_ change: (inout FileChanges) -> Void) -> Disk.Work {
        var changes = FileChanges()
        change(&changes)
        return disk.begin(changes)
    }

    /// Writes a record and the unit's files for an operation that must work without the disk; a failed write is
    /// retried.
    func storeOrLater(_ record: ServiceRecord, _ change: (inout FileChanges) -> Void) async {
        let name = record.spec.name
        guard let result = await result(of: change) else { return writeLater(name, because: .diskHangs) }
        guard let error = result.error else { return }
        // Renaming the record and changing the link need no disk space.
        _ = await self.result { changes in
            self.records.mark(name, record.phase, into: &changes)
            self.units.setEnabled(record.isLinked, name, into: &changes)
            changes.synchronize()
        }
        messages.notice(.error, "cannot write what was asked for; it is tried again: \(error)", name)
        writeLater(name, because: PendingChange.Reason(error))
    }

    static let silence = "it takes longer than the agent waits"
}

extension ControlError {
    @EventLoopActor init(_ error: SystemError) {
        self =
            error == .timedOut
            ? .storageTimeout(DesiredState.silence)
            : error.isStorageFull ? .storageFull(error.description) : .storageFailed(error.description)
    }
}

extension PendingChange.Reason {
    init(_ error: SystemError) { self = error.isStorageFull ? .diskFull : .diskFailed }
}
