internal import Services
internal import Systemd

/// Wakes those who follow a log when there is something for them in the journal. Without anybody who follows, the
/// journal is not looked at.
@EventLoopActor
final class JournalNews {
    /// The fields by whose values entries are told apart, as far as that goes without reading them.
    private static let fields = ["_SYSTEMD_UNIT", "SYSLOG_IDENTIFIER"]

    private var watch: JournalWatch?
    private var followers = 0
    private var waiting: [(values: [String], waiter: Promise<Void>)] = []
    /// Counts how often files came or went.
    private(set) var fileGeneration = 0

    typealias Follower = JournalFollower

    /// Looks at the journal from now on.
    func follow() throws(SystemError) -> Follower {
        if watch == nil {
            watch = try JournalWatch(fields: Self.fields) { [weak self] in self?.tell($0) }
        }
        followers += 1
        return Follower(self)
    }

    /// Waits for an entry with one of these values, or for other files; until the time is over or the task is
    /// cancelled.
    func wait(for values: [String], atMost duration: Duration) async {
        let waiter = Promise<Void>()
        waiting.append((values, waiter))
        _ = await waiter.wait(atMost: duration)
        waiting.removeAll { $0.waiter === waiter }
    }

    /// Has all who wait look again: a service was deleted.
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
