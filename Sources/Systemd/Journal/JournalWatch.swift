internal import CSystemd

/// Reports new journal entries, as long as it exists.
///
/// journald delays the inotify(7) notification of new entries by at least a quarter of a second, to save wake-ups. That
/// is too slow for a person who watches a program: a watch polls the journal every ``interval``. Added and removed
/// files are reported at once.
@EventLoopActor
public final class JournalWatch {
    /// The kinds of news.
    public enum News: Equatable, Sendable {
        /// Entries with these values of the watched fields, and perhaps others.
        case entries(Set<String>)
        /// More entries than ``entriesLimit``: any value may be among them.
        case many
        /// Files were added or removed: an open reader does not have the new ones.
        case files
    }

    /// The polling interval.
    public static let interval = Duration.milliseconds(10)
    /// The pause after a slow poll, as a multiple of its duration.
    private static let rest = 10
    /// The number of entries per poll whose fields are read.
    private static let entriesLimit = 256

    private let journal: JournalReader
    private let fields: [String]
    private var timer: Timer?
    private let handler: @EventLoopActor (News) -> Void

    /// Reports entries by their values of `fields`. Throws when the journal cannot be opened.
    public init(
        fields: [String],
        handler: @escaping @EventLoopActor (News) -> Void
    ) throws(SystemError) {
        self.fields = fields
        self.handler = handler
        journal = try JournalReader(fieldBytesLimit: 512)
        // The descriptor is not polled, but requesting it makes the library watch the directories.
        try check("sd_journal_get_fd", unsafe sd_journal_get_fd(journal.journal))
        try journal.seekNewest()
        timer = try Timer { [weak self] in self?.look() }
        timer?.arm(after: Self.interval)
    }

    private func look() {
        let begin = MonotonicClock.now()
        read()
        // While files are added and removed a poll is slow, and must not use all of the loop's time.
        let duration = MonotonicClock.now().duration(since: begin)
        timer?.arm(after: max(Self.interval, duration * Self.rest))
    }

    private func read() {
        let change = unsafe sd_journal_process(journal.journal)
        do throws(SystemError) {
            var values: Set<String> = []
            var count = 0
            while count < Self.entriesLimit, try journal.next() {
                count += 1
                for field in fields {
                    if let value = journal.field(field) { values.insert(value) }
                }
            }
            if change == CInt(SD_JOURNAL_INVALIDATE) {
                handler(.files)
            } else if count == Self.entriesLimit {
                try journal.seekNewest()
                handler(.many)
            } else if count > 0 {
                handler(.entries(values))
            }
        } catch {
            // A damaged file: the readers get the error.
            handler(.many)
        }
    }
}
