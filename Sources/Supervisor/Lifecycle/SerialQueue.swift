internal import Systemd

/// Lets the calls for one service through one after another, in the order in which they came.
@EventLoopActor
final class SerialQueue {
    private var isTaken = false
    private var waiting: [@EventLoopActor () -> Void] = []

    /// Waits for its turn.
    func enter() async {
        guard isTaken else {
            isTaken = true
            return
        }
        await withCheckedContinuation { continuation in waiting.append { continuation.resume() } }
    }

    /// Takes the next place in the line now, and calls `turn` when its turn has come.
    func enter(_ turn: @escaping @EventLoopActor () -> Void) {
        guard isTaken else {
            isTaken = true
            return turn()
        }
        waiting.append(turn)
    }

    /// Ends a turn; the next in line has it at once. True when nobody was waiting.
    func leave() -> Bool {
        guard !waiting.isEmpty else {
            isTaken = false
            return true
        }
        waiting.removeFirst()()
        return false
    }
}
