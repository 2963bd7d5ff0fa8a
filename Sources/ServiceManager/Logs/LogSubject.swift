internal import Services
internal import Systemd

/// The service whose lines are searched in the journal.
///
/// Standard output is a stream of systemd's, which tells journald the unit. For standard error journald looks up the
/// unit by the process that wrote the line. When that process has already ended the lookup fails, and its lines,
/// including those on standard output, have no unit field. They are identified by their stream (the trusted field
/// _STREAM_ID), and the stream by its lines that have the unit: the first line of standard error is written by the main
/// process (`UnitFile.streamMark`).
///
/// So a reader matches the unit and the streams of the runs that it reads (``LogLookup``), and never SYSLOG_IDENTIFIER:
/// every account can write any number of lines with that.
@EventLoopActor
struct LogSubject {
    let id: String
    let unit: String
    let identifier: String
    private let createdAt: Timestamp
    /// When the next service of that name was created.
    private let succeededAt: Timestamp?
    /// When the newest ended run has ended.
    let endedAt: Timestamp?
    /// The present data of the service's runs, and whether it has been deleted: both change while the log is followed.
    private let current: @EventLoopActor () -> (run: ServiceRun, isRemoved: Bool)

    /// The owner of an entry.
    enum Owner {
        case own
        /// An earlier service of the same name.
        case earlier
        case other
    }

    /// The largest difference between systemd's and journald's timestamps of one event.
    private static let clockDifferenceMicroseconds: Int64 = 1_000_000
    /// The longest delay between the end of a process and the arrival of its lines in the journal.
    private static let delayMicroseconds: Int64 = 60_000_000

    /// The log of a service, or of a deleted one whose name another service got at `succeededAt`.
    init(
        _ record: ServiceRecord,
        succeededAt: Timestamp? = nil,
        current: @escaping @EventLoopActor () -> (run: ServiceRun, isRemoved: Bool)
    ) {
        id = record.id
        unit = UnitName.unit(of: record.spec.name)
        identifier = UnitName.identifier(of: record.spec.name)
        createdAt = record.createdAt
        self.succeededAt = succeededAt
        endedAt = record.run.exitedAt
        self.current = current
    }

    /// Whether the service has been deleted: no more lines will be written.
    var isRemoved: Bool { current().isRemoved }

    /// Matches the lines of the unit and of the given streams of the service.
    func match(_ journal: borrowing JournalReader, streams: [String]) throws(SystemError) {
        try journal.match("_SYSTEMD_UNIT", unit)
        guard !streams.isEmpty else { return }
        try journal.orMatch()
        for stream in streams { try journal.match("_STREAM_ID", stream) }
    }

    /// The owner of the current entry, which matches as above. `hasOwnID` tells whether a stream has a line with the
    /// service's id.
    func owns(
        _ journal: borrowing JournalReader,
        writtenAt moment: Timestamp,
        hasOwnID: @EventLoopActor (String) -> Bool
    ) -> Owner {
        // Entries of other transports have fields of the sender's choice, and no stream.
        guard journal.field("_TRANSPORT", is: "stdout") ?? false else { return .other }
        guard journal.field("_SYSTEMD_UNIT", is: unit) ?? true else { return .other }
        if let isOwn = journal.field(UnitFile.idField, is: id) {
            return isOwn ? .own : moment < createdAt ? .earlier : .other
        }
        // journald looks up the id when it reads the line, which fails for a unit that is already unloaded. Then the
        // time decides or, when the clock has been set back, the rest of the stream.
        func isOfStreamWithOwnID() -> Bool { journal.field("_STREAM_ID").map(hasOwnID) ?? false }
        guard moment >= createdAt else { return isOfStreamWithOwnID() ? .own : .earlier }
        guard let succeededAt, moment >= succeededAt else { return .own }
        return isOfStreamWithOwnID() ? .own : .other
    }

    /// Whether the entry is the mark of a stream, which is not shown.
    func isMark(_ journal: borrowing JournalReader) -> Bool {
        journal.field("MESSAGE", is: UnitFile.streamMark) ?? false
    }

    // MARK: Streams

    /// The stream of the entry if it is the service's standard output or error and the entry has its unit.
    func stream(_ journal: borrowing JournalReader) -> String? {
        guard isStreamLine(journal), journal.field("_SYSTEMD_UNIT", is: unit) ?? false,
            journal.field(UnitFile.idField, is: id) ?? true
        else { return nil }
        return journal.field("_STREAM_ID")
    }

    /// Whether the entry looks like a line of the launcher's stream of standard error; any account can open such a
    /// stream.
    func isErrorLine(_ journal: borrowing JournalReader) -> Bool {
        (journal.field("PRIORITY", is: Self.errorPriority) ?? false) && isStreamLine(journal)
    }

    /// The same for standard output and error.
    func isStreamLine(_ journal: borrowing JournalReader) -> Bool {
        (journal.field("_TRANSPORT", is: "stdout") ?? false)
            && (journal.field("SYSLOG_IDENTIFIER", is: identifier) ?? false)
    }

    static let errorPriority = String(UnitFile.standardErrorPriority)

    // MARK: Main processes

    /// A main process of the service, and the time in which its lines can have arrived in the journal.
    struct MainProcess {
        let pid: String
        let first: Timestamp
        let last: Timestamp

        /// Whether both are the same process; the end may be known in one of them only.
        func isSame(_ other: MainProcess) -> Bool { pid == other.pid && first == other.first }
    }

    /// The main processes of the newest runs, the newest first.
    var mainProcesses: [MainProcess] {
        let run = current().run
        var end = run.hasEnded ? run.exitedAt : nil
        return run.processes.reversed().map { process in
            defer { end = process.startedAt }
            return MainProcess(
                pid: String(process.pid),
                first: Timestamp(microseconds: process.startedAt.microseconds - Self.clockDifferenceMicroseconds),
                last: Timestamp(microseconds: end.map { $0.microseconds + Self.delayMicroseconds } ?? .max)
            )
        }
    }
}
