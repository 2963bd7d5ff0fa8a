internal import JSON
internal import Services
internal import Systemd

/// The audit records of deleted services: `removed/TIME-NAME.json`, the newest ones, readable by root alone.
///
/// A request reads at most one file, or each file in its own turn of the event loop, so that it does not delay others.
@EventLoopActor
final class RemovedStore {
    /// The index entry of a deleted service.
    private struct Entry {
        let id: String
        let name: ServiceName
        let createdAt: Timestamp
    }

    private let path: String
    /// The files, oldest first; their names begin with the time.
    private var files: [String] = []
    /// The index, by file. Files of an earlier agent are added at the first lookup.
    private var entries: [String: Entry] = [:]
    private let indexing = SerialQueue()
    /// Audit records that could not be written on a full disk. Their file is the moved record of the service, which may
    /// lack the requester and still has the values of the environment.
    private var missing: [String: RemovedService] = [:]

    init(_ layout: StateLayout) {
        path = layout.removedDirectory
    }

    /// Creates the directory and lists its files. Throws when it cannot be created or read.
    func prepare() throws(SystemError) {
        let directory = try Directory(path, creatingWithMode: 0o700)
        let names = try directory.names()
        for name in names where name.hasPrefix(".") { try directory.remove(name) }
        files = names.filter { !$0.hasPrefix(".") }.sorted()
    }

    /// Reserves disk space for a record.
    func reserve(for removed: RemovedService, into changes: inout FileChanges) {
        let size = RemovedCoding.encode(removed).count + Self.endingBytes
        changes.reserve(fileName(of: removed), in: path, byteCount: size)
    }

    /// Releases the reserved disk space.
    func release(_ removed: RemovedService, into changes: inout FileChanges) {
        changes.release(fileName(of: removed), in: path)
    }

    /// The number of bytes that the end of the last run can add to a record: times, numbers and short words.
    private static let endingBytes = 512

    /// Writes a record, and removes the oldest ones beyond the limit. An interrupted deletion writes its record again.
    /// The caller calls ``note(_:isMissing:)`` when the changes are done.
    func add(_ removed: RemovedService, into changes: inout FileChanges) {
        let file = fileName(of: removed)
        changes.write(file, in: path, RemovedCoding.encode(removed), mode: 0o600)
        for old in old(besides: file) { changes.remove(old, in: path, ignoresFailure: true) }
    }

    /// The oldest files beyond the limit, when there is also `file`. Own services of an account have a limit of their
    /// own, so that an account cannot displace the records of others.
    private func old(besides file: String) -> ArraySlice<String> {
        let owner = Self.owner(file)
        let others = files.filter { $0 != file && Self.owner($0) == owner }
        let limit = owner == nil ? RemovedService.countLimit : Account.removedLimit
        return others.prefix(max(0, others.count + 1 - limit))
    }

    private static func owner(_ file: String) -> UInt32? {
        let name = file.drop { $0 != "-" }.dropFirst().dropLast(".json".count)
        return ServiceName(String(name))?.owner
    }

    /// Moves the record of the service here as the audit record; works on a full disk. The caller calls
    /// ``note(_:isMissing:)`` when the changes are done: the requester is written later.
    func add(_ removed: RemovedService, movedFrom records: RecordStore, into changes: inout FileChanges) {
        records.move(removed.record.spec.name, to: path, as: fileName(of: removed), into: &changes)
    }

    /// Adds a record that is on disk to the index. `isMissing`: the file is the moved record of the service.
    func note(_ removed: RemovedService, isMissing: Bool = false) {
        let file = fileName(of: removed)
        if !files.contains(file) { files.append(file) }
        remember(removed, file)
        missing[file] = isMissing ? removed : nil
        for old in old(besides: file) {
            files.removeAll { $0 == old }
            entries[old] = nil
            missing[old] = nil
        }
    }

    /// Whether there are audit records that could not be written on a full disk.
    var hasMissing: Bool { !missing.isEmpty }

    /// Writes the audit records that did not fit on the disk; returns them, for ``note(_:isMissing:)``.
    func writeMissing(into changes: inout FileChanges) -> [RemovedService] {
        for (file, removed) in missing { changes.write(file, in: path, RemovedCoding.encode(removed), mode: 0o600) }
        return Array(missing.values)
    }

    /// All records, the newest first, without those that cannot be read as a record. Throws when a read fails.
    func load() async throws(SystemError) -> [RemovedService] {
        var all: [RemovedService] = []
        for file in files.reversed() {
            if let removed = try read(file) { all.append(removed) }
            await LoopTurn.wait()
        }
        return all
    }

    /// The record of a deleted service, and when the next service of that name was created, if that one was deleted
    /// too.
    func find(_ id: String) async throws(SystemError) -> (removed: RemovedService, succeededAt: Timestamp?)? {
        try await index()
        guard let (file, entry) = entries.first(where: { $0.value.id == id }), let removed = try read(file) else {
            return nil
        }
        let others = entries.values.filter { $0.name == entry.name && $0.createdAt > entry.createdAt }
        return (removed, others.map(\.createdAt).min())
    }

    /// Indexes the files of an earlier agent.
    private func index() async throws(SystemError) {
        guard entries.count < files.count else { return }
        await indexing.enter()
        defer { _ = indexing.leave() }
        for file in files where entries[file] == nil {
            if let removed = try read(file) {
                remember(removed, file)
            } else {
                files.removeAll { $0 == file }
            }
            await LoopTurn.wait()
        }
    }

    private func remember(_ removed: RemovedService, _ file: String) {
        let record = removed.record
        entries[file] = Entry(id: record.id, name: record.spec.name, createdAt: record.createdAt)
    }

    /// Nil for a file that does not exist or is not a record.
    private func read(_ file: String) throws(SystemError) -> RemovedService? {
        guard let bytes = try Directory(path).read(file, limitBytes: RecordStore.recordBytesLimit) else { return nil }
        if let removed = try? RemovedCoding.decode(bytes) { return missing[file] ?? removed }
        // A record of the service itself, moved here when the disk was full.
        guard let record = try? RecordCoding.decode(bytes), let microseconds = Int64(file.prefix { $0 != "-" }) else {
            return nil
        }
        let removedAt = Timestamp(microseconds: microseconds)
        let requester = record.deletedBy ?? Requester(uid: nil, requestID: "none")
        return missing[file] ?? RemovedService(record, removedAt: removedAt, removedBy: requester)
    }

    private func fileName(of removed: RemovedService) -> String {
        let digits = String(removed.removedAt.microseconds)
        let padding = String(repeating: "0", count: max(0, 20 - digits.count))
        return "\(padding)\(digits)-\(removed.record.spec.name).json"
    }
}

/// An audit record as JSON text: the record of the service, the time of the removal and the requester.
enum RemovedCoding {
    static func encode(_ removed: RemovedService) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("removed_at", integer: Int(removed.removedAt.microseconds))
        writer.key("removed_by")
        RecordCoding.encode(removed.removedBy, into: &writer)
        writer.key("record")
        writer.raw(RecordCoding.encode(removed.record))
        writer.endObject()
        return writer.finish()
    }

    static func decode(_ bytes: [UInt8]) throws(RecordProblem) -> RemovedService {
        let members = try JSONMembers(parsing: bytes)
        return RemovedService(
            try RecordCoding.decode(try members.value("record")),
            removedAt: Timestamp(microseconds: Int64(try members.integer("removed_at"))),
            removedBy: try RecordCoding.decodeRequester(try members.object("removed_by"))
        )
    }
}
