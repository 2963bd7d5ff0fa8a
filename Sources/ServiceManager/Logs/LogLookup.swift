internal import Services
internal import Systemd

/// Finds the runs of a service and the streams of their output in the journal's index.
///
/// Each lookup searches for one value of a trusted field, such as the unit or the invocation id. Its cost does not
/// depend on what other accounts write, nor on what this account writes outside of the service.
@EventLoopActor
final class LogLookup {
    /// A run of the unit with at least one line.
    struct Run {
        /// The streams of its standard output and error, as far as its first lines show them.
        var streams: [String]
        /// The run's first entry.
        var begin: String
    }

    /// The position where a lookup begins.
    enum Place {
        case head
        case tail
        case behind(String)
        case from(Timestamp)
    }

    private let subject: LogSubject
    private let journal: JournalReader

    /// The number of lines at the beginning of a run or process that are examined. The mark, the first line of standard
    /// error, is one of them unless it is no longer on disk. systemd tells journald the unit of standard output; a line
    /// there has no unit only when journald could not assign an earlier line of the same process on standard error.
    private static let examinedLimit = 64
    /// Standard output and standard error.
    private static let streamsLimit = 2
    /// The number of runs before the current one that may still have unread lines: journald reads several streams
    /// concurrently.
    private static let earlierRunsLimit = 2

    /// Opens the journal's files.
    init(_ subject: LogSubject) throws(SystemError) {
        self.subject = subject
        journal = try JournalReader(fieldBytesLimit: 512)
    }

    // MARK: Runs

    /// The run of the unit's newest line before a position; nil when there is none.
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

    /// The run of the unit's first line at or after a position; nil when there is none.
    private func run(after place: Place) throws(SystemError) -> Run? {
        try ask("_SYSTEMD_UNIT", subject.unit)
        return try isAnythingBehind(place) ? try run() : nil
    }

    /// The run of the current entry.
    private func run() throws(SystemError) -> Run {
        let cursor = try journal.cursor()
        if let invocation = journal.field("_SYSTEMD_INVOCATION_ID") {
            return try run(invocation) ?? Run(streams: [], begin: cursor)
        }
        // journald cannot look up the invocation id of a unit that is unloaded. All lines of one stream are of one run.
        guard let stream = subject.stream(journal) else { return Run(streams: [], begin: cursor) }
        try ask("_STREAM_ID", stream)
        try journal.seekHead()
        return Run(streams: [stream], begin: try journal.next() ? try journal.cursor() : cursor)
    }

    /// A run by its invocation id; nil when it has no line.
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

    /// Whether a stream has lines after a position.
    func hasLines(_ stream: String, behind place: Place) throws(SystemError) -> Bool {
        try ask("_STREAM_ID", stream)
        return try isAnythingBehind(place)
    }

    /// The streams that lines after a position can be from, of runs that had begun by then. Those of later runs are
    /// found by their marks.
    func streams(at place: Place) throws(SystemError) -> [String] {
        // The mark of the current run may have been rotated away while its lines are still on disk.
        var streams: [String] = []
        if let next = try run(after: place) { streams += next.streams }
        var earlier = place
        for age in 0...Self.earlierRunsLimit {
            guard let run = try run(before: earlier) else { break }
            earlier = .behind(run.begin)
            for stream in run.streams where !streams.contains(stream) {
                // The current run and the previous one may still write.
                let mayGoOn = if age < 2 { true } else { try hasLines(stream, behind: place) }
                if mayGoOn { streams.append(stream) }
            }
        }
        return streams
    }

    /// The run of the newest line before a position, and those before it: for reading backwards.
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

    /// Moves to the previous run: the reader has reached the first entry of the current one. Returns the run that is
    /// added to the window; nil when there is none.
    func advance(_ window: inout Window) throws(SystemError) -> Run? {
        window.runs.removeFirst()
        var earliest: Run?
        if let last = window.runs.last { earliest = try run(before: .behind(last.begin)) }
        if let earliest { window.runs.append(earliest) }
        try choose(&window)
        return earliest
    }

    /// The streams of the current run, and those of earlier runs that have lines within the current run.
    private func choose(_ window: inout Window) throws(SystemError) {
        window.streams = []
        guard let current = window.runs.first else { return }
        window.streams = current.streams
        for stream in window.runs.dropFirst().flatMap(\.streams) where !window.streams.contains(stream) {
            if try hasLines(stream, behind: .behind(current.begin)) { window.streams.append(stream) }
        }
    }

    /// The relevant runs for reading backwards, the newest first.
    struct Window {
        fileprivate(set) var runs: [Run] = []
        /// The streams that the reader matches besides the unit.
        fileprivate(set) var streams: [String] = []

        /// The entry at which the previous run begins to count.
        var boundary: String? { runs.first?.begin }
    }

    // MARK: Lines without a unit

    /// What the lines of a main process show.
    struct Trace {
        /// The streams with lines of the process that have no unit field.
        fileprivate(set) var lost: [String] = []
        /// Whether a line on standard error has the unit: journald could look it up in time.
        fileprivate(set) var isKnown = false
    }

    /// Examines the first lines of a main process, up to the mark of its standard error.
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

    /// Whether the first line of a stream with a service id has this service's; false if none has an id.
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

    /// Seeks to the first matching entry at or after a position; false when there is none.
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
