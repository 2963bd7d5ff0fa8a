internal import Systemd

/// A queue: callers run one at a time, or as many as its limit says, in the order of arrival.
@EventLoopActor
final class SerialQueue {
    private let limit: Int
    private var count = 0
    private var waiting: [@EventLoopActor () -> Void] = []

    init(limit: Int = 1) { self.limit = limit }

    /// Waits for the turn of the caller. Each return must be followed by ``leave()``.
    func enter() async {
        guard count == limit else {
            count += 1
            return
        }
        await withCheckedContinuation { continuation in waiting.append { continuation.resume() } }
    }

    /// Joins the queue before this call returns, and calls `turn` when it is its turn.
    func enter(_ turn: @escaping @EventLoopActor () -> Void) {
        guard count == limit else {
            count += 1
            return turn()
        }
        waiting.append(turn)
    }

    /// Ends a turn and starts the next one. True when the queue is empty.
    func leave() -> Bool {
        guard !waiting.isEmpty else {
            count -= 1
            return true
        }
        waiting.removeFirst()()
        return false
    }
}
