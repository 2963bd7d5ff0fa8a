internal import API
internal import HTTP
internal import Systemd

/// Logs requests of clients that are not admitted, with at most one message a second: such a client decides how many
/// there are.
@EventLoopActor
final class RefusalLog {
    private static let interval = Duration.seconds(1)

    private let log: Log
    private var timer: Timer?
    private var isWaiting = false
    /// The number of refusals since the last message, and the newest one.
    private var unlogged: (count: Int, newest: (API.Reply, RequestHead?, Caller))?

    init(_ log: Log) throws(SystemError) {
        self.log = log
        timer = try Timer { [weak self] in self?.elapsed() }
    }

    func write(_ reply: API.Reply, _ head: RequestHead?, _ caller: Caller) {
        guard !isWaiting else {
            unlogged = ((unlogged?.count ?? 0) + 1, (reply, head, caller))
            return
        }
        log.write(reply, head, caller, .zero)
        wait()
    }

    private func wait() {
        isWaiting = true
        timer?.arm(after: Self.interval)
    }

    private func elapsed() {
        isWaiting = false
        guard let (count, (reply, head, caller)) = unlogged else { return }
        unlogged = nil
        log.write(reply, head, caller, .zero, refusedBefore: count - 1)
        wait()
    }
}
