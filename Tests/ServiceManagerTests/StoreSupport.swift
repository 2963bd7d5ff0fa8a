import Services
import Systemd

@testable import ServiceManager

/// Makes changes of files on the calling thread.
@discardableResult
func performed(_ change: (inout FileChanges) -> Void) throws -> FileResult {
    var changes = FileChanges()
    change(&changes)
    changes.synchronize()
    let result = changes.perform()
    try result.get()
    return result
}

extension RecordStore {
    func save(_ record: ServiceRecord) throws { try performed { save(record, into: &$0) } }
    func remove(_ name: ServiceName) throws { try performed { remove(name, into: &$0) } }
    func mark(_ name: ServiceName, _ phase: ServiceRecord.Phase) throws {
        try performed { mark(name, phase, into: &$0) }
    }
    func unmark(_ name: ServiceName) throws { try performed { unmark(name, into: &$0) } }
}

extension UnitDirectory {
    /// Whether one of the files was another before.
    @discardableResult
    func write(_ record: ServiceRecord, isLinked: Bool = true) throws -> Bool {
        var files = 0..<0
        return try performed { files = write(record, isLinked: isLinked, into: &$0).all }.isChanged(files)
    }

    /// Whether the link was another before.
    @discardableResult
    func setEnabled(_ isEnabled: Bool, _ name: ServiceName) throws -> Bool {
        try performed { setEnabled(isEnabled, name, into: &$0) }.isChanged(0..<1)
    }

    func remove(_ name: ServiceName) throws { try performed { remove(name, into: &$0) } }
}

extension RemovedStore {
    func add(_ removed: RemovedService) throws {
        try performed { add(removed, into: &$0) }
        note(removed)
    }

    func add(_ removed: RemovedService, movedFrom records: RecordStore) throws {
        try performed { add(removed, movedFrom: records, into: &$0) }
        note(removed, isMissing: true)
    }

    func writeMissing() throws {
        var written: [RemovedService] = []
        try performed { written = writeMissing(into: &$0) }
        for removed in written { note(removed) }
    }
}
