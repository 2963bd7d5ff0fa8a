internal import Services
internal import Systemd

/// Wakes followers of logs when the journal has new entries for them. Without followers the journal is not read.
@EventLoopActor
final class JournalNews {
    /// The fields by which new entries are assigned to followers, without reading the rest of the entry.
    private static let fields = ["_SYSTEMD_UNIT", "SYSLOG_IDENTIFIER"]

    private var watch: JournalWatch?
    private var followers = 0
    private var waiting: [(values: [String], waiter: Promise<Void>)] = []
    /// Counts changes of the set of journal files.
    private(set) var fileGeneration = 0

    typealias Follower = JournalFollower

    /// Starts to watch the journal. Throws when it cannot be opened.
    func follow() throws(SystemError) -> Follower {
        if watch == nil {
            watch = try JournalWatch(fields: Self.fields) { [weak self] in self?.tell($0) }
        }
        followers += 1
        return Follower(self)
    }

    /// Waits for an entry with one of these values, or for a change of files; at most for `duration` or until the task
    /// is cancelled.
    func wait(for values: [String], atMost duration: Duration) async {
        let waiter = Promise<Void>()
        waiting.append((values, waiter))
        _ = await waiter.wait(atMost: duration)
        waiting.removeAll { $0.waiter === waiter }
    }

    /// Wakes all waiting followers: a service was deleted.
    func wake() { for (_, waiter) in waiting { waiter.fulfil() } }

    fileprivate func leave() {
        followers -= 1
        if followers == 0 { watch = nil }
    }

    private func tell(_ news: JournalWatch.News) {
        switch news {
        case .entries(let values):
            for (wanted, waiter) in waiting where wanted.contains(where: values.contains) { waiter.fulfil() }
        case .files:
            fileGeneration += 1
            for (_, waiter) in waiting { waiter.fulfil() }
        case .many:
            for (_, waiter) in waiting { waiter.fulfil() }
        }
    }
}

/// A reader that follows a log as long as this object exists.
@EventLoopActor
final class JournalFollower {
    private let news: JournalNews

    fileprivate init(_ news: JournalNews) { self.news = news }

    isolated deinit { news.leave() }
}
