internal import JSON
internal import Services
internal import Systemd

/// The audit records of deleted services: `removed/TIME-NAME.json`, the newest ones, readable by root alone.
///
/// A request reads at most one of the files, or each of them in a turn of its own: others are not kept waiting.
@EventLoopActor
final class RemovedStore {
    /// What a request looks a deleted service up by.
    private struct Entry {
        let id: String
        let name: ServiceName
        let createdAt: Timestamp
    }

    private let path: String
    /// The files, oldest first; their names begin with the time.
    private var files: [String] = []
    /// The index, by file. Files that an earlier agent has written are read at the first lookup.
    private var entries: [String: Entry] = [:]
    private let indexing = Lane()
    /// The records whose files are those of the services, which have less and, of the environment, more.
    private var missing: [String: RemovedService] = [:]

    init(_ layout: StateLayout) {
        path = layout.removedDirectory
    }

    /// Makes the directory and finds what is in it.
    func prepare() throws(SystemError) {
        let directory = try Directory(path, creatingWithMode: 0o700)
        let names = try directory.names()
        for name in names where name.hasPrefix(".") { try directory.remove(name) }
        files = names.filter { !$0.hasPrefix(".") }.sorted()
    }

    /// Takes the room on the disk that a record will need.
    func reserve(for removed: RemovedService) throws(SystemError) {
        let size = RemovedCoding.encode(removed).count + Self.endingBytes
        try Directory(path).reserve(size, for: fileName(of: removed))
    }

    /// Gives that room back.
    func release(_ removed: RemovedService) throws(SystemError) { try Directory(path).release(fileName(of: removed)) }

    /// What the end of a service's last run may add to its record, at most: times, numbers and short words.
    private static let endingBytes = 512

    /// Writes a record, durably, and drops the oldest one too many.
    func add(_ removed: RemovedService, with changes: NameChanges? = nil) throws(SystemError) {
        let directory = try Directory(path)
        let file = fileName(of: removed)
        try directory.write(file, RemovedCoding.encode(removed), mode: 0o600, with: changes)
        // A deletion that was interrupted here is written once more.
        if !files.contains(file) { files.append(file) }
        remember(removed, file)
        while files.count > RemovedService.countLimit {
            try directory.remove(files[0])
            entries[files.removeFirst()] = nil
        }
    }

    /// Makes the record of the service itself the one for the audit, without any room. Who has removed it is written
    /// down later: ``writeMissing()``.
    func add(_ removed: RemovedService, movedFrom records: RecordStore) throws(SystemError) {
        let file = fileName(of: removed)
        try records.move(removed.record.spec.name, to: Directory(path), as: file)
        if !files.contains(file) { files.append(file) }
        remember(removed, file)
        missing[file] = removed
    }

    /// Whether there is something that could not be written for lack of room.
    var hasMissing: Bool { !missing.isEmpty }

    /// Writes what could not be written for lack of room.
    func writeMissing() throws(SystemError) {
        for (file, removed) in missing {
            try Directory(path).write(file, RemovedCoding.encode(removed), mode: 0o600)
            missing[file] = nil
        }
    }

    /// All of them, the newest first. What cannot be read is left out.
    func load() async throws(SystemError) -> [RemovedService] {
        var all: [RemovedService] = []
        for file in files.reversed() {
            if let removed = try read(file) { all.append(removed) }
            await LoopTurn.wait()
        }
        return all
    }

    /// The record of a deleted service, and when the next service of its name was created, as far as that was deleted,
    /// too.
    func find(_ id: String) async throws(SystemError) -> (removed: RemovedService, succeededAt: Timestamp?)? {
        try await index()
        guard let (file, entry) = entries.first(where: { $0.value.id == id }), let removed = try read(file) else {
            return nil
        }
        let others = entries.values.filter { $0.name == entry.name && $0.createdAt > entry.createdAt }
        return (removed, others.map(\.createdAt).min())
    }

    /// Looks into the files that an earlier agent has written.
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

    /// Nil for a file that is gone, or is no record.
    private func read(_ file: String) throws(SystemError) -> RemovedService? {
        guard let bytes = try Directory(path).read(file, limitBytes: RecordStore.recordBytesLimit) else { return nil }
        if let removed = try? RemovedCoding.decode(bytes) { return missing[file] ?? removed }
        // The service's own, which an agent without room has moved here.
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

/// An audit record as JSON text: the record, and who removed it when.
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
        let members = try Members(parsing: bytes)
        return RemovedService(
            try RecordCoding.decode(try members.value("record")),
            removedAt: Timestamp(microseconds: Int64(try members.integer("removed_at"))),
            removedBy: try RecordCoding.decodeRequester(try members.object("removed_by"))
        )
    }
}
