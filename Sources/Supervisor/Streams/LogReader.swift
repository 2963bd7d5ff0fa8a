internal import Services
internal import Systemd

/// Reads the log of one service for one client, a slice at a time.
@EventLoopActor
final class LogReader {
    private enum Position {
        /// Before the first line that is wanted, which is still to be found.
        case unknown
        /// Behind the entry of a cursor.
        case behind(String)
        /// Before everything.
        case head
        /// Before everything that is written from a moment on.
        case from(Timestamp)
    }

    private let subject: LogSubject
    private let query: LogQuery
    private let news: JournalNews
    private let follower: JournalNews.Follower?
    private let stream: OpenStreams.Stream?
    /// The boot that the lines have to be of.
    private let bootID: String?
    /// What was the newest entry when the client asked, for a reader that does not follow: the log ends there, however
    /// fast the service goes on writing. Not a time: the clock may have been put back since.
    private var newest: String?

    private var journal: JournalReader
    private var fileGeneration: Int
    private var position: Position
    private var hasEnded = false
    /// The service has been deleted, and journald has written down its last lines.
    private var isLastLook = false
    private static let lastLinesPatience = Duration.seconds(2)
    /// How many lines are still wanted; nil for whatever comes.
    private var remaining: Int?

    /// A slice is over after so many entries, so many bytes, or so long: then others have their turn.
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
        self.query = query
        self.bootID = bootID
        self.news = news
        self.stream = stream
        serviceID = subject.id
        position = query.cursor.map { .behind($0) } ?? .unknown
        follower = try Self.available { () throws(SystemError) in query.isFollowing ? try news.follow() : nil }
        fileGeneration = news.fileGeneration
        journal = try Self.available { () throws(SystemError) in try Self.open(subject, bootID) }
        if !query.isFollowing { newest = try Self.available { () throws(SystemError) in try journal.newest() } }
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
        do throws(SystemError) {
            while !hasEnded, !Task.isCancelled {
                await LoopTurn.wait()
                if case .unknown = position { try await findTail() }
                guard !hasEnded else { break }
                if fileGeneration != news.fileGeneration { try reopen() }
                let (entries, isMore) = try slice()
                guard entries.isEmpty else { return .entries(entries) }
                guard !isMore else { continue }
                guard query.isFollowing, !hasEnded else { break }
                if subject.isRemoved {
                    guard isLastLook else {
                        // Its last lines may be on their way to the journal.
                        isLastLook = true
                        await JournalSync.synchronize(within: Self.lastLinesPatience)
                        continue
                    }
                    hasEnded = true
                    return .removed
                }
                if try await waitForMore() { return .quiet }
            }
            hasEnded = true
            return .end
        } catch {
            throw .journalUnavailable(error.description)
        }
    }

    // MARK: Reading on

    /// Reads what is there, up to the size of a slice; `isMore` says that there is more than that.
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
            if subject.owns(journal, writtenAt: moment) == .own, !subject.isMark(journal) {
                let entry = try entry(writtenAt: moment)
                bytes += entry.line.utf8.count
                entries.append(entry)
                if let remaining {
                    self.remaining = remaining - 1
                    if remaining == 1 { hasEnded = true }
                }
            }
            if hasEnded { return (entries, false) }
            if examined == Self.sliceEntries || bytes >= Self.sliceBytes { return (entries, true) }
            if MonotonicClock.now().duration(since: begin) >= Self.sliceTime { return (entries, true) }
        }
        return (entries, false)
    }

    private func entry(writtenAt moment: Timestamp) throws(SystemError) -> LogEntry {
        LogEntry(
            timestamp: moment,
            stream: journal.field("PRIORITY", is: Self.errorPriority) ?? false ? .stderr : .stdout,
            line: journal.field("MESSAGE") ?? "",
            pid: journal.field("_PID").flatMap { Int($0) },
            cursor: try journal.cursor()
        )
    }

    private static let errorPriority = String(UnitFile.standardErrorPriority)

    /// Notes where the reader stands, should the files have to be opened anew.
    private func rememberPosition(_ examined: Int) {
        guard examined > 0, let cursor = try? journal.cursor() else { return }
        position = .behind(cursor)
    }

    /// Waits for something to be written. True when nothing was for so long that the client should hear of it.
    private func waitForMore() async throws(SystemError) -> Bool {
        let begin = MonotonicClock.now()
        var patience = StreamLimits.quietTime
        if let until = query.until {
            let left = until.microseconds - WallClock.now().microseconds
            guard left > 0 else {
                hasEnded = true
                return false
            }
            patience = min(patience, .microseconds(left))
        }
        await news.wait(for: [subject.unit, subject.identifier], atMost: patience)
        return MonotonicClock.now().duration(since: begin) >= StreamLimits.quietTime
    }

    /// Opens the files that are there now, and goes to where reading was: archived files are among them, so that
    /// nothing is passed over that is still on disk.
    private func reopen() throws(SystemError) {
        fileGeneration = news.fileGeneration
        journal = try Self.open(subject, bootID)
        switch position {
        case .unknown: break
        case .behind(let cursor): _ = try journal.seek(behind: cursor)
        case .head: try journal.seekHead()
        case .from(let moment): try journal.seek(to: WallClock(microseconds: moment.microseconds))
        }
    }

    private static func open(_ subject: LogSubject, _ bootID: String?) throws(SystemError) -> JournalReader {
        let journal = try JournalReader()
        if let bootID {
            try journal.match("_BOOT_ID", bootID)
            try journal.andMatch()
        }
        try subject.match(journal)
        return journal
    }

    // MARK: Finding the beginning

    /// Goes to where the lines begin that are wanted.
    private func findTail() async throws(SystemError) {
        guard let count = query.tail else { return try seek(query.since.map { .from($0) } ?? .head) }
        if let until = query.until {
            try journal.seek(to: WallClock(microseconds: until.microseconds + 1))
        } else {
            try journal.seekTail()
        }
        let (found, isAtHead) = try await goBack(over: count)
        if !query.isFollowing {
            remaining = found
            hasEnded = found == 0
        }
        if isAtHead { return try seek(.head) }
        position = .behind(try journal.cursor())
    }

    /// Goes back before so many of the service's lines, or before as many as there are; says how many that were, and
    /// whether nothing is before them.
    private func goBack(over count: Int) async throws(SystemError) -> (found: Int, isAtHead: Bool) {
        var begin = MonotonicClock.now()
        var found = 0
        while try journal.previous() {
            if found == count { return (found, false) }
            let moment = Timestamp(microseconds: try journal.moment().microseconds)
            if let since = query.since, moment < since { return (found, false) }
            switch subject.owns(journal, writtenAt: moment) {
            case .own: found += subject.isMark(journal) ? 0 : 1
            // What is older than another service of the same name is older than this one.
            case .earlier: return (found, false)
            case .other: break
            }
            guard MonotonicClock.now().duration(since: begin) >= Self.sliceTime else { continue }
            await LoopTurn.wait()
            begin = MonotonicClock.now()
        }
        return (found, true)
    }

    private func seek(_ position: Position) throws(SystemError) {
        self.position = position
        try reopen()
    }
}

extension LogReader: LogReading {}
