internal import Services
internal import Systemd

/// The records on disk: `services/NAME.json`, one a service, readable by root alone.
struct RecordStore {
    /// A record is at most this long: the limits of a spec, with every byte of it escaped, and room.
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

    /// Writes a record, durably.
    func save(_ record: ServiceRecord, with changes: NameChanges? = nil) throws(SystemError) {
        let bytes = RecordCoding.encode(record)
        try Directory(path).write(fileName(of: record.spec.name), bytes, mode: 0o600, with: changes)
    }

    /// Removes a record, durably.
    func remove(_ name: ServiceName, with changes: NameChanges? = nil) throws(SystemError) {
        let directory = try Directory(path)
        guard try directory.remove(fileName(of: name)) else { return }
        try directory.synchronize(with: changes)
    }

    /// All records, by name, and what could not be read. A file that is no record stays where it is, under a name
    /// that no service can have.
    func load() throws(SystemError) -> (records: [ServiceRecord], unreadable: [(file: String, reason: String)]) {
        let directory = try Directory(path)
        var records: [ServiceRecord] = []
        var unreadable: [(file: String, reason: String)] = []
        for file in try directory.names().sorted() {
            if file.hasPrefix(".") {
                // Only a crash between writing and renaming leaves such a file.
                if file.hasSuffix(".tmp") { try directory.remove(file) }
                continue
            }
            guard file.hasSuffix(Self.suffix) else { continue }
            let bytes: [UInt8]
            do throws(SystemError) {
                guard try !directory.isWritableByOthers(file) else {
                    // What it says would be run as any account.
                    try setAside(file, "others than root can write it", in: directory, &unreadable)
                    continue
                }
                bytes = try directory.read(file, limitBytes: Self.recordBytesLimit) ?? []
            } catch let error where error.isAboutContent {
                try setAside(file, error.description, in: directory, &unreadable)
                continue
            } catch {
                // The record may be good and the disk or the process in trouble: it stays for the next start.
                unreadable.append((file, error.description))
                continue
            }
            do throws(RecordProblem) {
                records.append(try decode(bytes, file))
            } catch {
                try setAside(file, error.description, in: directory, &unreadable)
            }
        }
        return (records, unreadable)
    }

    /// The files that were set aside, now or earlier, and those of `unreadable` that were not.
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

    private func decode(_ bytes: [UInt8], _ file: String) throws(RecordProblem) -> ServiceRecord {
        let record = try RecordCoding.decode(bytes)
        guard fileName(of: record.spec.name) == file else {
            throw RecordProblem(description: "it is the record of '\(record.spec.name)'")
        }
        return record
    }

    private func fileName(of name: ServiceName) -> String { "\(name)\(Self.suffix)" }
}
