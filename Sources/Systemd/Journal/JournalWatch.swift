internal import CSystemd

/// Tells when something has been written to the journal, as long as it exists.
///
/// journald announces entries through inotify a quarter of a second late and more, to spare readers the wake-ups. That
/// is too late for somebody who watches a program: while there is a watch, the journal is looked at every
/// ``interval``. New and vanished files are announced at once.
@EventLoopActor
public final class JournalWatch {
    /// What there is to read.
    public enum News: Equatable, Sendable {
        /// Entries of these values of the watched fields, and perhaps others.
        case entries(Set<String>)
        /// So many entries that nobody counted.
        case many
        /// Files came or went: what was opened before does not have the new ones.
        case files
    }

    /// How often the journal is looked at.
    public static let interval = Duration.milliseconds(10)
    /// The pause after a look that took longer than usual, in multiples of that.
    private static let rest = 10
    /// So many entries are told apart at a time.
    private static let entriesLimit = 256

    private let journal: JournalReader
    private let fields: [String]
    private var timer: Timer?
    private let handler: @EventLoopActor (News) -> Void

    /// Tells of entries by the values that they have of `fields`.
    public init(
        fields: [String],
        handler: @escaping @EventLoopActor (News) -> Void
    ) throws(SystemError) {
        self.fields = fields
        self.handler = handler
        journal = try JournalReader(fieldBytesLimit: 512)
        // The descriptor is not waited for, but with it the library keeps watch on the directories.
        try check("sd_journal_get_fd", unsafe sd_journal_get_fd(journal.journal))
        try journal.seek(to: WallClock.now())
        timer = try Timer { [weak self] in self?.look() }
        timer?.arm(after: Self.interval)
    }

    private func look() {
        let begin = MonotonicClock.now()
        read()
        // While files come and go a look takes long, and must not take all the time there is.
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
                try journal.seek(to: WallClock.now())
                handler(.many)
            } else if count > 0 {
                handler(.entries(values))
            }
        } catch {
            // A file that is damaged: who reads will find out.
            handler(.many)
        }
    }
}
