internal import JSON
internal import Services
internal import Systemd

/// The records of ended runs on disk: `runs/ID`, a ring of ``EndedRun/countLimit`` records of one size for each
/// service, readable by root alone.
///
/// The space of a file is allocated with its first record, so that later ones can be written on a full disk.
struct RunStore {
    /// The size of a record. A write within a block of the file system is whole or missing after most power cuts; a
    /// torn record is no record.
    static let recordBytes = 1024
    private static let fileBytes = recordBytes * EndedRun.countLimit

    private let path: String

    init(_ layout: StateLayout) {
        path = layout.runDirectory
    }

    /// Makes the directory, and removes the files of services that do not exist; `ids` is nil when that is not known.
    func prepare(for ids: Set<String>?) throws(SystemError) {
        let directory = try Directory(path, creatingWithMode: 0o700)
        guard let ids else { return }
        for name in try directory.names() where !ids.contains(name) { try directory.remove(name) }
    }

    /// Reads the records of a service.
    func read(_ id: String, into changes: inout FileChanges) {
        changes.read(id, in: path, at: 0, byteCount: Self.fileBytes)
    }

    /// The records of a file, the oldest first.
    static func records(in bytes: [UInt8]) -> [EndedRun] {
        stride(from: 0, to: bytes.count, by: recordBytes)
            .compactMap { RunCoding.decode(bytes[$0..<min($0 + recordBytes, bytes.count)]) }
            .sorted { $0.number < $1.number }
    }

    /// Writes a record durably.
    func write(_ run: EndedRun, of id: String, into changes: inout FileChanges) {
        let place = (run.number - 1) % EndedRun.countLimit
        let bytes = RunCoding.encode(run)
        changes.overwrite(id, in: path, at: place * Self.recordBytes, bytes, fileByteCount: Self.fileBytes)
        changes.synchronizeFile(id, in: path)
    }

    /// Removes the records of a service.
    func remove(_ id: String, into changes: inout FileChanges) { changes.remove(id, in: path, ignoresFailure: true) }
}

/// A record of an ended run as JSON text, filled up with spaces; a line feed ends the text and the record.
enum RunCoding {
    /// Texts that make a record too long are left out.
    static func encode(_ run: EndedRun) -> [UInt8] {
        var run = run
        var text = json(run)
        while text.count > RunStore.recordBytes - 2 {
            let conditions = run.conditions
            if let conditions, !conditions.dropIns.isEmpty {
                run.conditions = RunConditions(changedFields: conditions.changedFields, dropIns: [])
                run.areConditionsKnown = false
            } else if run.portHolder != nil {
                run.portHolder = nil
            } else {
                run.conditions = nil
                run.areConditionsKnown = false
            }
            text = json(run)
        }
        let padding = [UInt8](repeating: UInt8(ascii: " "), count: RunStore.recordBytes - 2 - text.count)
        return text + [UInt8(ascii: "\n")] + padding + [UInt8(ascii: "\n")]
    }

    private static func json(_ run: EndedRun) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("n", integer: run.number)
        writer.member("cause", string: run.cause.rawValue)
        writer.member("restarted", bool: run.isRestarted)
        if let id = run.invocationID { writer.member("invocation_id", string: id) }
        if let id = run.bootID { writer.member("boot_id", string: id) }
        if let moment = run.startedAt { writer.member("started_at", integer: Int(moment.microseconds)) }
        if let moment = run.endedAt { writer.member("ended_at", integer: Int(moment.microseconds)) }
        switch run.ending {
        case .exited(let code): writer.member("exit_code", integer: code)
        case .killed(let signal): writer.member("signal", integer: signal)
        case nil: break
        }
        if let result = run.result { writer.member("result", string: result) }
        if let bytes = run.memoryPeak { writer.member("memory_peak", integer: bytes) }
        if let time = run.cpuMilliseconds { writer.member("cpu_ms", integer: time) }
        if let offset = run.clockOffset { writer.member("clock_offset", integer: offset) }
        if !run.areConditionsKnown { writer.member("conditions_known", bool: false) }
        if let holder = run.portHolder { writer.member("port_holder", string: holder) }
        if let conditions = run.conditions {
            writer.key("conditions")
            encode(conditions, into: &writer)
        }
        writer.endObject()
        return writer.finish()
    }

    static func encode(_ conditions: RunConditions, into writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("changed_fields")
        writer.beginArray()
        for field in conditions.changedFields { writer.string(field) }
        writer.endArray()
        writer.key("drop_ins")
        writer.beginArray()
        for dropIn in conditions.dropIns {
            writer.beginObject()
            writer.member("path", string: dropIn.path)
            writer.member("hash", string: String(dropIn.hash, radix: 16))
            writer.endObject()
        }
        writer.endArray()
        writer.endObject()
    }

    static func conditions(_ members: JSONMembers) throws(RecordProblem) -> RunConditions {
        var dropIns: [RunConditions.DropIn] = []
        for dropIn in try members.objects("drop_ins") {
            guard let hash = UInt64(try dropIn.string("hash"), radix: 16) else {
                throw RecordProblem(description: "'hash' is no hexadecimal number")
            }
            dropIns.append(RunConditions.DropIn(path: try dropIn.string("path"), hash: hash))
        }
        return RunConditions(changedFields: try members.strings("changed_fields"), dropIns: dropIns)
    }

    /// Nil for an empty place, and for a record that a power cut has torn.
    static func decode(_ bytes: ArraySlice<UInt8>) -> EndedRun? {
        guard bytes.first == UInt8(ascii: "{"), let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        return try? decode(JSONMembers(parsing: Array(bytes[..<end])))
    }

    private static func decode(_ members: JSONMembers) throws(RecordProblem) -> EndedRun {
        func moment(_ key: String) throws(RecordProblem) -> Timestamp? {
            try members.optionalInteger(key).map { Timestamp(microseconds: Int64($0)) }
        }
        let number = try members.integer("n")
        guard number > 0 else { throw RecordProblem(description: "'n' is not positive") }
        // A newer version may know more causes.
        let cause = EndedRun.Cause(rawValue: try members.string("cause")) ?? .unknown
        var run = EndedRun(number: number, cause: cause, isRestarted: try members.bool("restarted"))
        run.invocationID = try members.optionalString("invocation_id")
        run.bootID = try members.optionalString("boot_id")
        run.startedAt = try moment("started_at")
        run.endedAt = try moment("ended_at")
        if let code = try members.optionalInteger("exit_code") { run.ending = .exited(code) }
        if let signal = try members.optionalInteger("signal") { run.ending = .killed(signal: signal) }
        run.result = try members.optionalString("result")
        run.memoryPeak = try members.optionalInteger("memory_peak")
        run.cpuMilliseconds = try members.optionalInteger("cpu_ms")
        run.clockOffset = try members.optionalInteger("clock_offset")
        run.portHolder = try members.optionalString("port_holder")
        if members.has("conditions_known") { run.areConditionsKnown = try members.bool("conditions_known") }
        if members.has("conditions") { run.conditions = try conditions(try members.object("conditions")) }
        return run
    }
}
