internal import Services
internal import Systemd

/// The records on disk: `services/NAME.json`, one a service, readable by root alone.
///
/// When the disk is full a record cannot be written, but it can be renamed: the phase that was asked for is then part
/// of its name, for example `NAME.json.stopping` (a mark).
struct RecordStore {
    /// The largest record: the limits of a spec with every byte escaped, and a margin.
    static let recordBytesLimit = 2 * 1024 * 1024
    private static let suffix = ".json"

    private let path: String

    init(_ layout: StateLayout) {
        path = layout.recordDirectory
    }

    /// Makes the directory.
    func prepare() throws(SystemError) {
        _ = try Directory(path, creatingWithMode: 0o700)
    }

    /// Writes a record.
    func save(_ record: ServiceRecord, into changes: inout FileChanges) {
        changes.write(fileName(of: record.spec.name), in: path, RecordCoding.encode(record), mode: 0o600)
    }

    /// Removes a record, and its marks.
    func remove(_ name: ServiceName, into changes: inout FileChanges) {
        changes.remove(fileName(of: name), in: path)
        unmark(name, into: &changes)
    }

    /// Moves the record of a deleted service to another directory. Works on a full disk.
    func move(_ name: ServiceName, to directory: String, as file: String, into changes: inout FileChanges) {
        for own in [fileName(of: name), fileName(of: name, .deleting)] {
            changes.move(own, in: path, to: directory, as: file)
        }
    }

    /// Stores the requested phase on a full disk: renames the record of the service.
    func mark(_ name: ServiceName, _ phase: ServiceRecord.Phase, into changes: inout FileChanges) {
        let marked = fileName(of: name, phase)
        // When there are several, the record without a mark is the newest. It is moved last and wins.
        for file in Self.phases.map({ fileName(of: name, $0) }) + [fileName(of: name)] where file != marked {
            changes.move(file, in: path, to: path, as: marked)
        }
    }

    /// Removes the marks of a record that has been saved since.
    func unmark(_ name: ServiceName, into changes: inout FileChanges) {
        for phase in Self.phases { changes.remove(fileName(of: name, phase), in: path, ignoresFailure: true) }
    }

    /// Waits until the names of the records are on disk.
    func synchronize(into changes: inout FileChanges) { changes.synchronize(path) }

    private static let phases: [ServiceRecord.Phase] = [.starting, .stopping, .deleting]

    private func fileName(of name: ServiceName, _ phase: ServiceRecord.Phase) -> String {
        "\(fileName(of: name)).\(phase.rawValue)"
    }

    /// What ``load()`` has found.
    typealias Contents = (
        records: [ServiceRecord], unreadable: [(file: String, reason: String)], marked: [ServiceName]
    )

    /// All records by name, the files that could not be read, and the records with a mark. A file that is not a record
    /// is renamed to a name that no service can have, and kept. Throws when the directory cannot be read.
    func load() throws(SystemError) -> Contents {
        let directory = try Directory(path)
        var marked: [ServiceName] = []
        var records: [ServiceRecord] = []
        var unreadable: [(file: String, reason: String)] = []
        for file in try directory.names().sorted() {
            if file.hasPrefix(".") {
                // A temporary file, left by a crash between write and rename.
                if file.hasSuffix(".tmp") { try directory.remove(file) }
                continue
            }
            let phase = Self.phases.first { file.hasSuffix("\(Self.suffix).\($0.rawValue)") }
            guard phase != nil || file.hasSuffix(Self.suffix) else { continue }
            let bytes: [UInt8]
            do throws(SystemError) {
                guard try !directory.isWritableByOthers(file) else {
                    // Its content could start a program under any account.
                    try setAside(file, "others than root can write it", in: directory, &unreadable)
                    continue
                }
                bytes = try directory.read(file, limitBytes: Self.recordBytesLimit) ?? []
            } catch let error where error.isAboutContent {
                try setAside(file, error.description, in: directory, &unreadable)
                continue
            } catch {
                // The record may be intact and the error temporary (EIO, EMFILE): the file stays for the next start.
                unreadable.append((file, error.description))
                continue
            }
            let record: ServiceRecord
            do throws(RecordProblem) {
                record = try decode(bytes, file, phase)
            } catch {
                try setAside(file, error.description, in: directory, &unreadable)
                continue
            }
            if phase != nil, records.last?.spec.name == record.spec.name {
                // The record without a mark, which comes first, is newer.
                try directory.remove(file)
                continue
            }
            records.append(record)
            if phase != nil { marked.append(record.spec.name) }
        }
        return (records, unreadable, marked)
    }

    /// The files that were set aside, now or earlier, and those of `unreadable` that were left in place.
    func unreadableFiles(_ unreadable: [String]) throws(SystemError) -> [String] {
        let aside = try Directory(path).names().filter { $0.hasSuffix(Self.setAsideSuffix) }
        return (aside + unreadable.filter { !aside.contains($0 + Self.setAsideSuffix) }).sorted()
    }

    private static let setAsideSuffix = ".unreadable"

    private func setAside(
        _ file: String,
        _ reason: String,
        in directory: borrowing Directory,
        _ unreadable: inout [(file: String, reason: String)]
    ) throws(SystemError) {
        try directory.rename(file, to: file + Self.setAsideSuffix)
        unreadable.append((file, reason))
    }

    private func decode(
        _ bytes: [UInt8],
        _ file: String,
        _ phase: ServiceRecord.Phase?
    ) throws(RecordProblem) -> ServiceRecord {
        var record = try RecordCoding.decode(bytes)
        let name = record.spec.name
        guard (phase.map { fileName(of: name, $0) } ?? fileName(of: name)) == file else {
            throw RecordProblem(description: "it is the record of '\(name)'")
        }
        if let phase {
            record.phase = phase
            record.isToRun = phase == .starting
            record.replacedRun = nil
        }
        return record
    }

    private func fileName(of name: ServiceName) -> String { "\(name)\(Self.suffix)" }
}
