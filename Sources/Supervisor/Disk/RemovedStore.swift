internal import JSON
internal import Services
internal import Systemd

/// The audit records of deleted services: `removed/TIME-NAME.json`, the newest ones, readable by root alone.
@EventLoopActor
final class RemovedStore {
    private let path: String
    /// The files, oldest first; their names begin with the time.
    private var files: [String] = []

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
        while files.count > RemovedService.countLimit {
            try directory.remove(files[0])
            files.removeFirst()
        }
    }

    /// All of them, the newest first. What cannot be read is left out.
    func load() throws(SystemError) -> [RemovedService] {
        let directory = try Directory(path)
        var all: [RemovedService] = []
        for file in files.reversed() {
            guard let bytes = try directory.read(file, limitBytes: RecordStore.recordBytesLimit),
                let removed = try? RemovedCoding.decode(bytes)
            else { continue }
            all.append(removed)
        }
        return all
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
