internal import Services
internal import Systemd

/// Reads the log of one service for one client, in slices.
@EventLoopActor
final class LogReader {
    private enum Position {
        /// The position of the first requested line is not determined yet.
        case unknown
        case at(LogLookup.Place)
    }

    private let subject: LogSubject
    private let streams: LogStreams
    private let query: LogQuery
    private let news: JournalNews
    private let follower: JournalNews.Follower?
    private let stream: OpenStreams.Stream?
    /// The boot of the lines; nil for all boots.
    private let bootID: String?
    /// The newest entry at the time of the request, where a reader that does not follow ends even if the service goes
    /// on writing. Not a time: the clock may have been set back since.
    private var newest: String?

    private var journal: JournalReader
    private var fileGeneration: Int
    private var position: Position
    private var isPrepared = false
    private var hasEnded = false
    /// The service has been deleted, and journald has written its last lines.
    private var isLastLook = false
    private static let lastLinesPatience = Duration.seconds(2)
    /// The number of lines still to be sent; nil for no limit.
    private var remaining: Int?

    /// The limits of a slice, in entries, bytes and time: after it other work of the loop gets its turn.
    private static let sliceEntries = 64
    private static let sliceBytes = 128 * 1024
    private static let sliceTime = Duration.milliseconds(1)

    let serviceID: String

    init(
        _ subject: LogSubject,
        _ query: LogQuery,
        bootID: String?,
        news: JournalNews,
        stream: OpenStreams.Stream?
    ) throws(ControlError) {
        self.subject = subject
        streams = LogStreams(subject)
        self.query = query
        self.bootID = bootID
        self.news = news
        self.stream = stream
        serviceID = subject.id
        position = query.cursor.map { .at(.behind($0)) } ?? .unknown
        follower = try Self.available { () throws(SystemError) in query.isFollowing ? try news.follow() : nil }
        fileGeneration = news.fileGeneration
        journal = try Self.available { () throws(SystemError) in try JournalReader() }
        guard let cursor = query.cursor else { return }
        let isCursor = try Self.available { () throws(SystemError) in try journal.seek(behind: cursor) }
        guard isCursor else { throw .badCursor }
    }

    private static func available<Result: ~Copyable>(
        _ call: () throws(SystemError) -> Result
    ) throws(ControlError) -> Result {
        do throws(SystemError) {
            return try call()
        } catch {
            throw .journalUnavailable(error.description)
        }
    }

    func next() async throws(ControlError) -> LogPiece {
        let begin = MonotonicClock.now()
        do throws(SystemError) {
            while !hasEnded, !Task.isCancelled {
                await LoopTurn.wait()
                if !isPrepared { try await prepare() }
                guard !hasEnded else { break }
                if fileGeneration != news.fileGeneration { try reopen() }
                // Before lines of a newly found stream are passed over.
                if query.isFollowing, try streams.trace() { try match() }
                let (entries, isMore) = try slice()
                guard entries.isEmpty else {
                    // The client may be slow: close the files meanwhile.
                    streams.close()
                    return .entries(entries)
                }
                guard !isMore else { continue }
                guard query.isFollowing, !hasEnded else { break }
                if subject.isRemoved {
                    guard isLastLook else {
                        // Its last lines may not be in the journal yet.
                        isLastLook = true
                        await JournalSync.synchronize(within: Self.lastLinesPatience)
                        continue
                    }
                    hasEnded = true
                    return .removed
                }
                if try await waitForMore(since: begin) { return .quiet }
            }
            hasEnded = true
            return .end
        } catch {
            throw .journalUnavailable(error.description)
        }
    }

    // MARK: Reading on

    /// Reads up to one slice; `isMore` means that there is more.
    private func slice() throws(SystemError) -> (entries: [LogEntry], isMore: Bool) {
        let begin = MonotonicClock.now()
        var entries: [LogEntry] = []
        var bytes = 0
        var examined = 0
        defer { rememberPosition(examined) }
        while try journal.next() {
            examined += 1
            let moment = Timestamp(microseconds: try journal.moment().microseconds)
            if let until = query.until, moment > until {
                hasEnded = true
                return (entries, false)
            }
            if let newest, try journal.isAt(newest) { hasEnded = true }
            let isOwn = owner(writtenAt: moment) == .own
            if isOwn, !subject.isMark(journal) {
                let entry = try entry(writtenAt: moment)
                bytes += entry.line.utf8.count
                entries.append(entry)
                if let remaining {
                    self.remaining = remaining - 1
                    if remaining == 1 { hasEnded = true }
                }
            }
            if hasEnded { return (entries, false) }
            if isOwn, try streams.notice(journal, writtenAt: moment) {
                rememberPosition(examined)
                try match()
            }
            if examined == Self.sliceEntries || bytes >= Self.sliceBytes { return (entries, true) }
            if MonotonicClock.now().duration(since: begin) >= Self.sliceTime { return (entries, true) }
        }
        return (entries, false)
    }

    private func entry(writtenAt moment: Timestamp) throws(SystemError) -> LogEntry {
        LogEntry(
            timestamp: moment,
            stream: journal.field("PRIORITY", is: LogSubject.errorPriority) ?? false ? .stderr : .stdout,
            line: journal.field("MESSAGE") ?? "",
            pid: journal.field("_PID").flatMap { Int($0) },
            cursor: try journal.cursor()
        )
    }

    private func owner(writtenAt moment: Timestamp) -> LogSubject.Owner {
        let owner = subject.owns(journal, writtenAt: moment) { streams.hasOwnID($0) }
        guard case .own = owner, let run = query.run else { return owner }
        // Absent when journald has read the line after the end of its process.
        guard let isOfRun = journal.field("_SYSTEMD_INVOCATION_ID", is: run.invocationID) else {
            let pid = journal.field("_PID").flatMap { Int($0) }
            return pid.map(run.otherProcesses.contains) ?? false ? .other : owner
        }
        return isOfRun ? owner : .other
    }

    /// Stores the position, in case the files have to be opened again.
    private func rememberPosition(_ examined: Int) {
        // No entry was read since the matches were changed: the stored position is still valid.
        guard examined > 0, let cursor = try? journal.cursor() else { return }
        position = .at(.behind(cursor))
    }

    /// Waits for new entries. True when no line of the service has come for ``StreamLimits/quietTime`` since `begin`;
    /// entries that are not its own do not count.
    private func waitForMore(since begin: MonotonicClock) async throws(SystemError) -> Bool {
        streams.close()
        func quietTimeLeft() -> Duration { StreamLimits.quietTime - MonotonicClock.now().duration(since: begin) }
        var patience = quietTimeLeft()
        guard patience > .zero else { return true }
        if let until = query.until {
            let left = until.microseconds - WallClock.now().microseconds
            guard left > 0 else {
                hasEnded = true
                return false
            }
            patience = min(patience, .microseconds(left))
        }
        await news.wait(for: [subject.unit, subject.identifier], atMost: patience)
        return quietTimeLeft() <= .zero
    }

    /// Opens the current set of files and seeks to the stored position. Archived files are included, so that no entry
    /// that is still on disk is skipped.
    private func reopen() throws(SystemError) {
        fileGeneration = news.fileGeneration
        streams.close()
        journal = try JournalReader()
        try match()
        try go()
    }

    /// Seeks to the stored position.
    private func go() throws(SystemError) {
        switch position {
        case .unknown, .at(.tail): break
        case .at(.behind(let cursor)): _ = try journal.seek(behind: cursor)
        case .at(.head): try journal.seekHead()
        case .at(.from(let moment)): try journal.seek(to: WallClock(microseconds: moment.microseconds))
        }
    }

    /// Sets the matches of the journal. The position is kept.
    private func match() throws(SystemError) {
        journal.matchEverything()
        if let bootID {
            try journal.match("_BOOT_ID", bootID)
            try journal.andMatch()
        }
        try subject.match(journal, streams: streams.matched)
    }

    // MARK: Finding the beginning

    /// Whether the newest lines are requested, by their number.
    private var isTail: Bool {
        if case .unknown = position { query.tail != nil } else { false }
    }

    /// Finds the streams to read, the newest entry, and the position to begin at.
    private func prepare() async throws(SystemError) {
        isPrepared = true
        _ = try streams.trace()
        if !query.isFollowing {
            await LoopTurn.wait()
            try streams.matchNewest()
            try match()
            // A number of lines is the end of its own: lines that are written meanwhile count.
            if !isTail { newest = try journal.newest() }
        }
        await LoopTurn.wait()
        if case .at(let place) = position {
            try begin(at: place)
        } else {
            try await findTail()
        }
    }

    /// Seeks to the first requested line.
    private func findTail() async throws(SystemError) {
        guard let count = query.tail else { return try begin(at: query.since.map { .from($0) } ?? .head) }
        var tail: (found: Int, isAtHead: Bool)?
        while tail == nil { tail = try await goBack(over: count) }
        guard let (found, isAtHead) = tail else { return }
        if !query.isFollowing {
            remaining = found
            hasEnded = found == 0
        }
        if isAtHead { return try begin(at: .head) }
        position = .at(.behind(try journal.cursor()))
    }

    private func begin(at place: LogLookup.Place) throws(SystemError) {
        position = .at(place)
        try streams.match(at: place)
        try match()
        try go()
    }

    /// Seeks backwards over `count` lines of the service, or over all if there are fewer. Returns the number of lines,
    /// and whether the beginning of the journal was reached. Nil when another stream was found, whose lines have been
    /// skipped.
    private func goBack(over count: Int) async throws(SystemError) -> (found: Int, isAtHead: Bool)? {
        let end: LogLookup.Place = query.until.map { .from(Timestamp(microseconds: $0.microseconds + 1)) } ?? .tail
        var window = try streams.window(before: end)
        try match()
        if case .from(let moment) = end {
            try journal.seek(to: WallClock(microseconds: moment.microseconds))
        } else {
            try journal.seekTail()
        }
        var begin = MonotonicClock.now()
        var found = 0
        while try journal.previous() {
            if found == count { return (found, false) }
            let moment = Timestamp(microseconds: try journal.moment().microseconds)
            if let since = query.since, moment < since { return (found, false) }
            switch owner(writtenAt: moment) {
            case .own:
                guard !streams.discover(journal) else { return nil }
                found += subject.isMark(journal) ? 0 : 1
            // An entry of an earlier service of the same name: all lines before it are older than this service.
            case .earlier: return (found, false)
            case .other: break
            }
            if let boundary = window.boundary, try journal.isAt(boundary) {
                switch try streams.advance(&window, over: boundary) {
                case .goOn: break
                case .match: try match()
                case .again: return nil
                }
            }
            guard MonotonicClock.now().duration(since: begin) >= Self.sliceTime else { continue }
            await LoopTurn.wait()
            begin = MonotonicClock.now()
        }
        return (found, true)
    }
}

extension LogReader: LogReading {}
