internal import Services
internal import Systemd

/// The streams of a service that a log reader matches besides the unit, because their lines may have no unit field.
@EventLoopActor
final class LogStreams {
    private let subject: LogSubject
    /// Open only while needed: it uses a descriptor for each journal file.
    private var lookup: LogLookup?
    /// Streams of main processes with lines that have no unit field.
    private var lost: [String] = []
    /// Streams of the newest lines, which the reader reaches last.
    private var newest: [String] = []
    /// Streams of the runs around the reader's position, the newest last.
    private var recent: [String] = []
    private var discovered = 0
    /// The creation time of the reader: later lines arrive while it reads.
    private let begin = Timestamp(microseconds: WallClock.now().microseconds)
    /// Main processes whose streams are known, or that have none.
    private var resolved: [LogSubject.MainProcess] = []
    /// The processes that opened the streams found by the reader, the newest last.
    private var openers: [String] = []
    /// Whether a stream has a line with the service's id.
    private var identified: [String: Bool] = [:]

    /// The streams of a run and of two runs before it. Each matched stream costs one search for each line.
    private static let recentLimit = 6
    /// The number of streams that may be found only by reading, because the first lines of their run do not show them.
    /// Each one makes the reader start again.
    private static let discoveredLimit = 8
    /// The size of the cache of stream ids; others are looked up again.
    private static let identifiedLimit = 256

    init(_ subject: LogSubject) { self.subject = subject }

    /// The argument of ``LogSubject/match(_:streams:)``.
    var matched: [String] {
        var all: [String] = []
        for stream in lost + newest + recent where !all.contains(stream) { all.append(stream) }
        return all
    }

    // MARK: Looking up

    private func opened() throws(SystemError) -> LogLookup {
        if let lookup { return lookup }
        let opened = try LogLookup(subject)
        lookup = opened
        return opened
    }

    /// Closes the files; they are opened again when needed.
    func close() { lookup = nil }

    /// Looks for streams of main processes with lines that have no unit field; true when another one was found.
    /// journald finds the unit of a main process unless it hangs for the whole life of the process.
    func trace() throws(SystemError) -> Bool {
        let known = lost.count
        let now = Timestamp(microseconds: WallClock.now().microseconds)
        for process in subject.mainProcesses where !isResolved(process) {
            let trace = try opened().trace(process)
            for stream in trace.lost where !lost.contains(stream) { lost.append(stream) }
            if trace.isKnown || process.last < now { resolve(process) }
        }
        return lost.count > known
    }

    private func isResolved(_ process: LogSubject.MainProcess) -> Bool {
        openers.contains(process.pid) || resolved.contains { $0.isSame(process) }
    }

    private func resolve(_ process: LogSubject.MainProcess) {
        resolved.append(process)
        if resolved.count > ServiceRun.processesLimit { resolved.removeFirst() }
    }

    /// Matches the streams that the newest lines can be from.
    func matchNewest() throws(SystemError) { newest = try opened().streams(at: .tail) }

    /// Matches the streams that lines after a position can be from, for a reader that begins there.
    func match(at place: LogLookup.Place) throws(SystemError) { recent = try opened().streams(at: place) }

    /// The same for reading backwards from a position.
    func window(before place: LogLookup.Place) throws(SystemError) -> LogLookup.Window {
        let window = try opened().window(before: place)
        recent = window.streams
        return window
    }

    /// The next step of reading backwards.
    enum Step {
        case goOn
        /// Set the matches again.
        case match
        /// Start again: lines of another stream have been skipped.
        case again
    }

    /// Handles that reading backwards has reached the first entry of a run, `boundary`.
    func advance(_ window: inout LogLookup.Window, over boundary: String) throws(SystemError) -> Step {
        let lookup = try opened()
        let before = matched
        for stream in try lookup.advance(&window)?.streams ?? [] where !before.contains(stream) {
            if try lookup.hasLines(stream, behind: .behind(boundary)), discover(stream) { return .again }
        }
        recent = window.streams
        return matched == before ? .goOn : .match
    }

    /// Handles an entry of the service while reading backwards; true when its stream is not among those of its run, and
    /// is matched from now on.
    func discover(_ journal: borrowing JournalReader) -> Bool {
        guard let stream = journal.field("_STREAM_ID"), !recent.contains(stream), subject.stream(journal) != nil,
            !newest.contains(stream), !lost.contains(stream)
        else { return false }
        return discover(stream)
    }

    private func discover(_ stream: String) -> Bool {
        guard discovered < Self.discoveredLimit else { return false }
        discovered += 1
        newest.append(stream)
        return true
    }

    /// Handles an entry of the service while reading forwards; true when the matches have to be set again.
    func notice(_ journal: borrowing JournalReader, writtenAt moment: Timestamp) throws(SystemError) -> Bool {
        guard let stream = journal.field("_STREAM_ID"), !recent.contains(stream), subject.stream(journal) != nil
        else { return false }
        if subject.isMark(journal), let opener = journal.field("_PID") {
            openers.append(opener)
            if openers.count > ServiceRun.processesLimit { openers.removeFirst() }
        }
        let before = matched
        recent.append(stream)
        // The run's other stream may have lines without a unit before its first line with it. A run that has just begun
        // has none yet.
        if moment < begin, let invocation = journal.field("_SYSTEMD_INVOCATION_ID"),
            let run = try opened().run(invocation)
        {
            for other in run.streams where !recent.contains(other) { recent.append(other) }
        }
        recent.removeFirst(max(0, recent.count - Self.recentLimit))
        return matched.count > before.count || !matched.allSatisfy(before.contains)
    }

    /// Whether a stream has a line with the service's id.
    func hasOwnID(_ stream: String) -> Bool {
        if let isOwn = identified[stream] { return isOwn }
        // An unreadable journal proves nothing.
        let isOwn = (try? opened().hasOwnID(stream)) ?? false
        if identified.count == Self.identifiedLimit { identified = [:] }
        identified[stream] = isOwn
        return isOwn
    }
}
