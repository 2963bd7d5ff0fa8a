internal import Services
internal import Systemd

/// Finds in the journal's index the runs of a service and the streams through which they have written.
///
/// Each question is a search for one value that journald vouches for, such as the unit or the invocation id of a run.
/// What it costs does not depend on what other accounts write, nor on what this one writes outside of the service.
@EventLoopActor
final class LogLookup {
    /// A run of the unit that has written something.
    struct Run {
        /// The streams of its standard output and error, as far as its first lines tell.
        var streams: [String]
        /// The run's first entry.
        var begin: String
    }

    /// Where a question begins.
    enum Place {
        case head
        case tail
        case behind(String)
        case from(Timestamp)
    }

    private let subject: LogSubject
    private let journal: JournalReader

    /// The first lines of a run or of a process that are looked at. The mark, the first line of standard error, is one
    /// of them unless it is no longer on disk. systemd tells journald the unit of standard output; a line there has
    /// none only when journald could not place an earlier line of the same process on standard error.
    private static let examinedLimit = 64
    /// Those of standard output and error.
    private static let streamsLimit = 2
    /// The runs before the current one whose lines may still come: journald reads several streams at a time.
    private static let earlierRunsLimit = 2

    /// Opens the journal's files.
    init(_ subject: LogSubject) throws(SystemError) {
        self.subject = subject
        journal = try JournalReader(fieldBytesLimit: 512)
    }

    // MARK: Runs

    /// The run that has written the newest of the unit's lines before a place; nil when there is none.
    func run(before place: Place) throws(SystemError) -> Run? {
        try ask("_SYSTEMD_UNIT", subject.unit)
        switch place {
        case .head: return nil
        case .tail: try journal.seekTail()
        case .behind(let cursor): try journal.seek(before: cursor)
        case .from(let moment): try journal.seek(to: WallClock(microseconds: moment.microseconds))
        }
        return try journal.previous() ? try run() : nil
    }

    /// The run that has written the first of the unit's lines at a place or after it; nil when there is none.
    private func run(after place: Place) throws(SystemError) -> Run? {
        try ask("_SYSTEMD_UNIT", subject.unit)
        return try isAnythingBehind(place) ? try run() : nil
    }

    /// The run that has written the entry at which the lookup stands.
    private func run() throws(SystemError) -> Run {
        let cursor = try journal.cursor()
        if let invocation = journal.field("_SYSTEMD_INVOCATION_ID") {
            return try run(invocation) ?? Run(streams: [], begin: cursor)
        }
        // journald does not find it for a unit that is gone already. What came through the same stream is of one run.
        guard let stream = subject.stream(journal) else { return Run(streams: [], begin: cursor) }
        try ask("_STREAM_ID", stream)
        try journal.seekHead()
        return Run(streams: [stream], begin: try journal.next() ? try journal.cursor() : cursor)
    }

    /// A run by its invocation id; nil when there is no line of it.
    func run(_ invocation: String) throws(SystemError) -> Run? {
        try ask("_SYSTEMD_INVOCATION_ID", invocation)
        try journal.seekHead()
        var run: Run?
        var examined = 0
        while examined < Self.examinedLimit, try journal.next() {
            examined += 1
            var known = if let run { run } else { Run(streams: [], begin: try journal.cursor()) }
            if let stream = subject.stream(journal), !known.streams.contains(stream) { known.streams.append(stream) }
            run = known
            if known.streams.count == Self.streamsLimit { break }
        }
        return run
    }

    /// Whether a stream has lines behind a place.
    func hasLines(_ stream: String, behind place: Place) throws(SystemError) -> Bool {
        try ask("_STREAM_ID", stream)
        return try isAnythingBehind(place)
    }

    /// The streams that lines behind a place can have come through, of the runs that had begun by then; those of later
    /// runs are known when their marks are read.
    func streams(at place: Place) throws(SystemError) -> [String] {
        // The mark of the run that is going on there may be gone from the disk, and its lines not.
        var streams: [String] = []
        if let next = try run(after: place) { streams += next.streams }
        var earlier = place
        for age in 0...Self.earlierRunsLimit {
            guard let run = try run(before: earlier) else { break }
            earlier = .behind(run.begin)
            for stream in run.streams where !streams.contains(stream) {
                // The current run and the one before may go on writing.
                let mayGoOn = if age < 2 { true } else { try hasLines(stream, behind: place) }
                if mayGoOn { streams.append(stream) }
            }
        }
        return streams
    }

    /// The run of the newest line before a place, and those before it: for a reader that goes back from there.
    func window(before place: Place) throws(SystemError) -> Window {
        var window = Window()
        var earlier = place
        while window.runs.count <= Self.earlierRunsLimit, let run = try run(before: earlier) {
            window.runs.append(run)
            earlier = .behind(run.begin)
        }
        try choose(&window)
        return window
    }

    /// Goes back to the run before: the reader has come to the first entry of the current one. Gives back the run that
    /// matters from now on besides; nil when there is none.
    func advance(_ window: inout Window) throws(SystemError) -> Run? {
        window.runs.removeFirst()
        var earliest: Run?
        if let last = window.runs.last { earliest = try run(before: .behind(last.begin)) }
        if let earliest { window.runs.append(earliest) }
        try choose(&window)
        return earliest
    }

    /// The current run's streams, and of those before it the streams that have lines within the current run.
    private func choose(_ window: inout Window) throws(SystemError) {
        window.streams = []
        guard let current = window.runs.first else { return }
        window.streams = current.streams
        for stream in window.runs.dropFirst().flatMap(\.streams) where !window.streams.contains(stream) {
            if try hasLines(stream, behind: .behind(current.begin)) { window.streams.append(stream) }
        }
    }

    /// The runs that matter to a reader who goes back, the newest first.
    struct Window {
        fileprivate(set) var runs: [Run] = []
        /// The streams that the reader has to look at besides the lines of the unit.
        fileprivate(set) var streams: [String] = []

        /// The entry at which the run before has its turn.
        var boundary: String? { runs.first?.begin }
    }

    // MARK: Lines without a unit

    /// What the lines of a main process tell.
    struct Trace {
        /// The streams through which the process has written lines that have lost the unit.
        fileprivate(set) var lost: [String] = []
        /// Whether it has written to standard error and the line has the unit: journald has kept up.
        fileprivate(set) var isKnown = false
    }

    /// Looks at the first lines of a main process, as far as the mark of its standard error.
    func trace(_ process: LogSubject.MainProcess) throws(SystemError) -> Trace {
        var trace = Trace()
        try ask("_PID", process.pid)
        try journal.seek(to: WallClock(microseconds: process.first.microseconds))
        var examined = 0
        while examined < Self.examinedLimit, try journal.next() {
            examined += 1
            guard Timestamp(microseconds: try journal.moment().microseconds) <= process.last else { break }
            guard subject.isStreamLine(journal), let stream = journal.field("_STREAM_ID") else { continue }
            switch journal.field("_SYSTEMD_UNIT", is: subject.unit) {
            case true:
                trace.isKnown = subject.isErrorLine(journal)
                if trace.isKnown { return trace }
            case nil: if !trace.lost.contains(stream) { trace.lost.append(stream) }
            case false: continue
            }
        }
        return trace
    }

    /// Whether the first line of a stream that has an id has the service's; false where none has.
    func hasOwnID(_ stream: String) throws(SystemError) -> Bool {
        try ask("_STREAM_ID", stream)
        try journal.seekHead()
        var examined = 0
        while examined < Self.examinedLimit, try journal.next() {
            examined += 1
            guard journal.field("_SYSTEMD_UNIT", is: subject.unit) ?? false else { continue }
            if let isOwn = journal.field(UnitFile.idField, is: subject.id) { return isOwn }
        }
        return false
    }

    // MARK: Asking

    private func ask(_ field: String, _ value: String) throws(SystemError) {
        journal.matchEverything()
        try journal.match(field, value)
    }

    /// Goes to the first entry that is asked for at a place or behind it; false when there is none.
    private func isAnythingBehind(_ place: Place) throws(SystemError) -> Bool {
        switch place {
        case .head: try journal.seekHead()
        case .tail: return false
        case .behind(let cursor): _ = try journal.seek(behind: cursor)
        case .from(let moment): try journal.seek(to: WallClock(microseconds: moment.microseconds))
        }
        return try journal.next()
    }
}
