internal import Services
internal import Systemd

/// The streams of a service that a log reader matches besides the unit: those whose lines may have lost it.
@EventLoopActor
final class LogStreams {
    private let subject: LogSubject
    /// Open only while it is needed: it has a descriptor of each file of the journal.
    private var lookup: LogLookup?
    /// Streams of main processes, with lines that have lost the unit.
    private var lost: [String] = []
    /// Streams that the reader comes to at last.
    private var newest: [String] = []
    /// Streams of the runs where the reader is, the newest last.
    private var recent: [String] = []
    private var discovered = 0
    /// When the reader was made: later lines come while it reads.
    private let begin = Timestamp(microseconds: WallClock.now().microseconds)
    /// Main processes whose streams are known, or that have none.
    private var settled: [LogSubject.MainProcess] = []
    /// The processes that opened the streams which the reader has come to, the newest last.
    private var openers: [String] = []
    /// Whether a stream has a line with the service's id.
    private var identified: [String: Bool] = [:]

    /// The streams of a run and of two before it: each one that is matched costs a search for each line.
    private static let recentLimit = 6
    /// A stream is discovered when the first lines of its run do not tell of it; each one has a reader begin anew.
    private static let discoveredLimit = 8
    /// The number of streams whose id is remembered; the others are looked up again.
    private static let identifiedLimit = 256

    init(_ subject: LogSubject) { self.subject = subject }

    /// What ``LogSubject/match(_:streams:)`` takes.
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

    /// Closes the files, or has them opened anew when they are needed.
    func close() { lookup = nil }

    /// Looks for streams of main processes with lines that have lost the unit; true when there is another one. journald
    /// finds the unit of a main process unless it hangs for as long as the process lives.
    func trace() throws(SystemError) -> Bool {
        let known = lost.count
        let now = Timestamp(microseconds: WallClock.now().microseconds)
        for process in subject.mainProcesses where !isSettled(process) {
            let trace = try opened().trace(process)
            for stream in trace.lost where !lost.contains(stream) { lost.append(stream) }
            if trace.isKnown || process.last < now { settle(process) }
        }
        return lost.count > known
    }

    private func isSettled(_ process: LogSubject.MainProcess) -> Bool {
        openers.contains(process.pid) || settled.contains { $0.isSame(process) }
    }

    private func settle(_ process: LogSubject.MainProcess) {
        settled.append(process)
        if settled.count > ServiceRun.processesLimit { settled.removeFirst() }
    }

    /// Matches the streams that the newest lines can have come through.
    func matchNewest() throws(SystemError) { newest = try opened().streams(at: .tail) }

    /// Matches the streams that lines behind a place can have come through, for a reader who begins there.
    func match(at place: LogLookup.Place) throws(SystemError) { recent = try opened().streams(at: place) }

    /// The same for a reader who goes back from there.
    func window(before place: LogLookup.Place) throws(SystemError) -> LogLookup.Window {
        let window = try opened().window(before: place)
        recent = window.streams
        return window
    }

    /// What a reader who goes back has to do.
    enum Step {
        case goOn
        /// Other streams are to be matched from there on.
        case match
        /// Begin anew: lines of another stream have been passed over.
        case again
    }

    /// The reader has gone back to the first entry of a run, `boundary`.
    func advance(_ window: inout LogLookup.Window, over boundary: String) throws(SystemError) -> Step {
        let lookup = try opened()
        let before = matched
        for stream in try lookup.advance(&window)?.streams ?? [] where !before.contains(stream) {
            if try lookup.hasLines(stream, behind: .behind(boundary)), discover(stream) { return .again }
        }
        recent = window.streams
        return matched == before ? .goOn : .match
    }

    /// A reader who goes back has come to an entry of the service; true when its stream was not among those of its run,
    /// and is matched from now on.
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

    /// The reader has come to an entry of the service; true when other streams are to be matched from there on.
    func notice(_ journal: borrowing JournalReader, writtenAt moment: Timestamp) throws(SystemError) -> Bool {
        guard let stream = journal.field("_STREAM_ID"), !recent.contains(stream), subject.stream(journal) != nil
        else { return false }
        if subject.isMark(journal), let opener = journal.field("_PID") {
            openers.append(opener)
            if openers.count > ServiceRun.processesLimit { openers.removeFirst() }
        }
        let before = matched
        recent.append(stream)
        // The run's other stream may have lines without a unit before the first one that has it. A run that has just
        // begun has none yet.
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
        // A journal that cannot be read has nothing to vouch with.
        let isOwn = (try? opened().hasOwnID(stream)) ?? false
        if identified.count == Self.identifiedLimit { identified = [:] }
        identified[stream] = isOwn
        return isOwn
    }
}
