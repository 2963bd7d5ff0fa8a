internal import Systemd

/// The daemon's log: structured entries in the journal, or readable lines on standard error where that is a terminal or
/// a pipe.
@EventLoopActor
struct Log {
    /// A journal field and its value.
    typealias Field = (name: String, value: String)

    private let journal: JournalWriter?
    /// Less important messages are dropped.
    var level = JournalWriter.Priority.info

    /// - Parameter journalStream: `$JOURNAL_STREAM`, which identifies standard error as the journal's stream:
    /// systemd.exec(5).
    init(journalStream: String?) {
        journal = ProcessContext.standardErrorIsJournal(journalStream) ? JournalWriter() : nil
    }

    func write(
        _ priority: JournalWriter.Priority,
        _ message: @autoclosure () -> String,
        _ fields: @autoclosure () -> [Field] = []
    ) {
        guard priority.rawValue <= level.rawValue else { return }
        let message = message()
        let fields = fields()
        if let journal {
            journal.send(priority, message, fields + [("SYSLOG_IDENTIFIER", "miosa-agent")])
        } else {
            let rest = fields.map { " \($0.name.lowercased())=\($0.value)" }.joined()
            ProcessContext.write("\(priority): \(message)\(rest)", toStandardError: true)
        }
    }
}
