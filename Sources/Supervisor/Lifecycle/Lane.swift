internal import Systemd

/// Lets the calls for one service through one after another, in the order in which they came.
@EventLoopActor
final class Lane {
    private var isTaken = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// Waits for its turn.
    func enter() async {
        guard isTaken else {
            isTaken = true
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    /// Ends a turn; the next in line has it at once. True when nobody was waiting.
    func leave() -> Bool {
        guard !waiting.isEmpty else {
            isTaken = false
            return true
        }
        waiting.removeFirst().resume()
        return false
    }
}
