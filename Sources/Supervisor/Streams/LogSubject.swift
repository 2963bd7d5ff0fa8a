internal import Services
internal import Systemd

/// The service whose lines are looked for in the journal.
///
/// Lines of standard output come through a stream of systemd's own, which tells journald the unit. For those of
/// standard error journald looks the unit up by the process that wrote them. A process that has died before cannot be
/// looked up any more, and its lines have no unit, nor have those that it wrote to standard output. They are known by
/// the stream through which they came, which journald vouches for, and the stream by its lines that have the unit: the
/// first one of standard error is the main process's (`UnitFile.streamMark`).
///
/// So a reader matches the unit and the streams of the runs whose lines it reads (``LogLookup``), and never the
/// identifier: every account can write lines with that, as many as it likes.
@EventLoopActor
struct LogSubject {
    let id: String
    let unit: String
    let identifier: String
    private let createdAt: Timestamp
    /// When the next service of that name was created.
    private let succeededAt: Timestamp?
    /// When the newest run that has ended did.
    let endedAt: Timestamp?
    /// The figures of the service's runs as they are now, and whether it has been deleted: both change while the log is
    /// followed.
    private let current: @EventLoopActor () -> (run: ServiceRun, isRemoved: Bool)

    /// Whose an entry is.
    enum Owner {
        case own
        /// A service's that had the name before.
        case earlier
        case other
    }

    /// How far the clocks' readings of systemd and journald can be apart for one thing.
    private static let clockDifferenceMicroseconds: Int64 = 1_000_000
    /// How long after the end of a process its lines can come to the journal.
    private static let delayMicroseconds: Int64 = 60_000_000

    /// The log of a service, or of one that was removed and had another of its name come after it at `succeededAt`.
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

    /// Whether the service has been deleted: nothing more will be written.
    var isRemoved: Bool { current().isRemoved }

    /// Has a reader pass over everything but the unit's lines and those of streams of the service.
    func match(_ journal: borrowing JournalReader, streams: [String]) throws(SystemError) {
        try journal.match("_SYSTEMD_UNIT", unit)
        guard !streams.isEmpty else { return }
        try journal.orMatch()
        for stream in streams { try journal.match("_STREAM_ID", stream) }
    }

    /// Whose the entry is that a reader stands at which matches as above. `hasOwnID` tells whether a stream has a line
    /// with the service's id.
    func owns(
        _ journal: borrowing JournalReader,
        writtenAt moment: Timestamp,
        hasOwnID: @EventLoopActor (String) -> Bool
    ) -> Owner {
        // What is sent to the journal in other ways has fields of the sender's choice, and no stream.
        guard journal.field("_TRANSPORT", is: "stdout") ?? false else { return .other }
        guard journal.field("_SYSTEMD_UNIT", is: unit) ?? true else { return .other }
        if let isOwn = journal.field(UnitFile.idField, is: id) {
            return isOwn ? .own : moment < createdAt ? .earlier : .other
        }
        // journald looks the id up when it has the line, and does not find it for a unit that is gone already. The time
        // tells then, or where the clock has been put back, the rest of the stream.
        func isOfStreamWithOwnID() -> Bool { journal.field("_STREAM_ID").map(hasOwnID) ?? false }
        guard moment >= createdAt else { return isOfStreamWithOwnID() ? .own : .earlier }
        guard let succeededAt, moment >= succeededAt else { return .own }
        return isOfStreamWithOwnID() ? .own : .other
    }

    /// Whether the entry is the first of its stream, which nobody has asked for.
    func isMark(_ journal: borrowing JournalReader) -> Bool {
        journal.field("MESSAGE", is: UnitFile.streamMark) ?? false
    }

    // MARK: Streams

    /// The stream of the entry when that is the service's standard output or error, and the entry has its unit.
    func stream(_ journal: borrowing JournalReader) -> String? {
        guard isStreamLine(journal), journal.field("_SYSTEMD_UNIT", is: unit) ?? false,
            journal.field(UnitFile.idField, is: id) ?? true
        else { return nil }
        return journal.field("_STREAM_ID")
    }

    /// Whether the entry is one as the launcher's stream of standard error makes them, whoever has opened that stream.
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

    /// A main process of the service, and when lines that it wrote can have come to the journal.
    struct MainProcess {
        let pid: String
        let first: Timestamp
        let last: Timestamp

        /// Whether the other one is the same process, perhaps with an end that is known now.
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
