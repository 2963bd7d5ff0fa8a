internal import Services
internal import Systemd

/// The logs of services, also of deleted ones.
@EventLoopActor
final class Logs {
    private let services: ServiceTable
    private let removed: RemovedStore
    private let bootID: String
    private let news = JournalNews()

    init(_ services: ServiceTable, _ removed: RemovedStore, bootID: String) {
        self.services = services
        self.removed = removed
        self.bootID = bootID
    }

    /// Has the followers look again: a service was deleted.
    func wake() { news.wake() }

    /// `stream` is the client's slot; nil for reads by the agent itself.
    func read(
        _ reference: String,
        _ query: LogQuery,
        as stream: OpenStreams.Stream?
    ) async throws(ControlError) -> any LogReading {
        let subject = try await logSubject(reference)
        // A follower gets late lines when they arrive.
        if !query.isFollowing { await awaitLastLines(of: subject) }
        let boot = try query.boot.map { (boot) throws(ControlError) in try journalID(of: boot) }
        return try LogReader(subject, query, bootID: boot, news: news, stream: stream)
    }

    /// The last lines of a service's newest run, without their ends.
    func lastLines(of service: Service, _ count: Int) async throws(ControlError) -> [String] {
        var query = LogQuery()
        query.tail = count
        let log = try await read(service.record.id, query, as: nil)
        var lines: [String] = []
        while case .entries(let entries) = try await log.next() { lines += entries.map(\.line) }
        return lines
    }

    /// The longest delay between the end of a process and the arrival of its last lines in the journal.
    static let journalDelay = Duration.seconds(30)
    /// The time-out of the wait for these lines.
    static let journalPatience = Duration.seconds(2)

    /// Waits until journald has written the last lines of a process that has just ended.
    private func awaitLastLines(of subject: LogSubject) async {
        guard let endedAt = subject.endedAt else { return }
        let age = Duration.microseconds(WallClock.now().microseconds - endedAt.microseconds)
        if age < Self.journalDelay { await JournalSync.synchronize(within: Self.journalPatience) }
    }

    private func logSubject(_ reference: String) async throws(ControlError) -> LogSubject {
        if let name = services.name(of: reference), let service = services[name] {
            let last = service.record.run
            return LogSubject(service.record) { [weak services] in
                // By id: another service may have got the name.
                let current = services?[name]?.record
                return current?.id == service.record.id ? (current?.run ?? last, false) : (last, true)
            }
        }
        guard let (service, succeededAt) = try await findRemoved(reference) else { throw .serviceNotFound }
        let record = service.record
        let next = services[record.spec.name]?.record.createdAt
        return LogSubject(record, succeededAt: [succeededAt, next].compactMap { $0 }.min()) { (record.run, true) }
    }

    private func findRemoved(
        _ id: String
    ) async throws(ControlError) -> (removed: RemovedService, succeededAt: Timestamp?)? {
        do throws(SystemError) {
            return try await removed.find(id)
        } catch {
            throw ControlError(error)
        }
    }

    /// The boot id in the journal's format. Throws `bootNotFound`.
    private func journalID(of boot: LogQuery.Boot) throws(ControlError) -> String {
        let current = bootID.filter { $0 != "-" }
        switch boot {
        case .id(let id): return id
        case .back(0): return current
        case .back(let count):
            let id: String?
            do throws(SystemError) {
                id = try JournalReader.bootID(before: current, back: count)
            } catch {
                throw .journalUnavailable(error.description)
            }
            guard let id else { throw .bootNotFound }
            return id
        }
    }
}
