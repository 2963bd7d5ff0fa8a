internal import Systemd

/// A mutual-exclusion queue: callers run one at a time, in the order of arrival.
@EventLoopActor
final class SerialQueue {
    private var isTaken = false
    private var waiting: [@EventLoopActor () -> Void] = []

    /// Waits for the turn of the caller. Each return must be followed by ``leave()``.
    func enter() async {
        guard isTaken else {
            isTaken = true
            return
        }
        await withCheckedContinuation { continuation in waiting.append { continuation.resume() } }
    }

    /// Joins the queue before this call returns, and calls `turn` when it is its turn.
    func enter(_ turn: @escaping @EventLoopActor () -> Void) {
        guard isTaken else {
            isTaken = true
            return turn()
        }
        waiting.append(turn)
    }

    /// Ends a turn and starts the next one. True when the queue is empty.
    func leave() -> Bool {
        guard !waiting.isEmpty else {
            isTaken = false
            return true
        }
        waiting.removeFirst()()
        return false
    }
}
