internal import Services
internal import Systemd

/// The service whose lines are looked for in the journal.
///
/// Lines of standard output come through a stream of systemd's own, and have the unit. For those of standard error
/// journald looks the unit up by the process that wrote them. A process that has died before cannot be looked up any
/// more, and its lines have no unit. They are known by the stream through which they came, which journald vouches for,
/// and the stream by its first line: the unit's main process has written it (`UnitFile.streamMark`). Whatever name
/// somebody else gives to a stream of their own, its lines are not the service's.
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
    private let streams = Streams()

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

    /// Has a reader pass over what is certainly not the service's.
    func match(_ journal: borrowing JournalReader) throws(SystemError) {
        try journal.match("_SYSTEMD_UNIT", unit)
        try journal.orMatch()
        try journal.match("SYSLOG_IDENTIFIER", identifier)
    }

    /// Whose the entry is that a reader stands at.
    func owns(_ journal: borrowing JournalReader, writtenAt moment: Timestamp) -> Owner {
        // What is sent to the journal in other ways has fields of the sender's choice, and no stream.
        guard journal.field("_TRANSPORT", is: "stdout") ?? false else { return .other }
        switch journal.field("_SYSTEMD_UNIT", is: unit) {
        case true: break
        case nil where isOfOwnStream(journal, moment): break
        default: return .other
        }
        if let isOwn = journal.field(UnitFile.idField, is: id) {
            return isOwn ? .own : moment < createdAt ? .earlier : .other
        }
        // journald looks the id up when it has the line, and does not find it for a unit that is gone already. The time
        // tells then, or where the clock has been put back, the rest of the stream.
        guard moment >= createdAt else { return isOfStreamWithOwnID(journal) ? .own : .earlier }
        guard let succeededAt, moment >= succeededAt else { return .own }
        return isOfStreamWithOwnID(journal) ? .own : .other
    }

    /// Whether the entry is the first of its stream, which nobody has asked for.
    func isMark(_ journal: borrowing JournalReader) -> Bool {
        journal.field("MESSAGE", is: UnitFile.streamMark) ?? false
    }

    // MARK: Entries without a unit

    private func isOfOwnStream(_ journal: borrowing JournalReader, _ moment: Timestamp) -> Bool {
        if isOfMainProcess(journal, moment) { return true }
        guard let stream = journal.field("_STREAM_ID") else { return false }
        if streams.own.contains(stream) { return true }
        // A journal that cannot be read has nothing to vouch with.
        guard (try? isOwn(stream)) ?? false else { return false }
        streams.remember(stream)
        return true
    }

    /// Looks for a line in the stream that has a unit, or that the main process has written: the mark, as a rule.
    private func isOwn(_ stream: String) throws(SystemError) -> Bool {
        try answer(of: stream) { journal throws(SystemError) in
            guard journal.field("_TRANSPORT", is: "stdout") ?? false else { return nil }
            if let isOwn = journal.field("_SYSTEMD_UNIT", is: unit) { return isOwn }
            let moment = Timestamp(microseconds: try journal.moment().microseconds)
            return isOfMainProcess(journal, moment) ? true : nil
        }
    }

    // MARK: Entries without an id

    private func isOfStreamWithOwnID(_ journal: borrowing JournalReader) -> Bool {
        guard let stream = journal.field("_STREAM_ID") else { return false }
        if let isOwn = streams.identified[stream] { return isOwn }
        // A journal that cannot be read has nothing to vouch with.
        let isOwn = (try? hasOwnID(stream)) ?? false
        streams.identify(stream, isOwn: isOwn)
        return isOwn
    }

    /// Looks for a line in the stream that has an id.
    private func hasOwnID(_ stream: String) throws(SystemError) -> Bool {
        try answer(of: stream) { journal in
            guard journal.field("_SYSTEMD_UNIT", is: unit) ?? false else { return nil }
            return journal.field(UnitFile.idField, is: id)
        }
    }

    // MARK: Looking a stream up

    /// What the first line of a stream says that says anything; false where none does.
    private func answer(
        of stream: String,
        _ ask: (borrowing JournalReader) throws(SystemError) -> Bool?
    ) throws(SystemError) -> Bool {
        let journal = try JournalReader(fieldBytesLimit: 512)
        try journal.match("_STREAM_ID", stream)
        try journal.seekHead()
        var examined = 0
        while examined < Self.examinedLimit, try journal.next() {
            examined += 1
            if let answer = try ask(journal) { return answer }
        }
        return false
    }

    /// So many lines of a stream are looked at; the mark is the first unless it is not on disk any more.
    private static let examinedLimit = 64

    /// The streams that are known to be the service's.
    private final class Streams {
        private(set) var own: Set<String> = []
        /// Whether a stream has a line with the service's id.
        private(set) var identified: [String: Bool] = [:]

        /// So many are remembered; the others are looked up again.
        private static let limit = 256

        func remember(_ stream: String) {
            if own.count == Self.limit { own = [] }
            own.insert(stream)
        }

        func identify(_ stream: String, isOwn: Bool) {
            if identified.count == Self.limit { identified = [:] }
            identified[stream] = isOwn
        }
    }

    /// Whether what wrote the entry was the service's main process at that moment, or had been shortly before.
    private func isOfMainProcess(_ journal: borrowing JournalReader, _ moment: Timestamp) -> Bool {
        let run = current().run
        var end = run.hasEnded ? run.exitedAt : nil
        for process in run.processes.reversed() {
            let first = process.startedAt.microseconds - Self.clockDifferenceMicroseconds
            let last = end.map { $0.microseconds + Self.delayMicroseconds } ?? .max
            let isItsTime = first <= moment.microseconds && moment.microseconds <= last
            if isItsTime, journal.field("_PID", is: String(process.pid)) ?? false { return true }
            end = process.startedAt
        }
        return false
    }
}
