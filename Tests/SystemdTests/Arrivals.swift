import Systemd

/// What callbacks bring, in order, for a test that waits for it.
@EventLoopActor
final class Arrivals<Value: Sendable> {
    /// Nothing came in the time that even a busy machine needs.
    struct Overdue: Error {}

    /// All that has come so far.
    private(set) var all: [Value] = []
    private var taken = 0
    private var waiting: CheckedContinuation<Void, Never>?

    init() {}

    func add(_ value: Value) {
        all.append(value)
        wake()
    }

    /// The next value that has not been taken yet; waits for it.
    func next() async throws -> Value {
        if taken == all.count {
            let deadline = try Timer { [weak self] in self?.wake() }
            deadline.arm(after: .seconds(15))
            await withCheckedContinuation { waiting = $0 }
            deadline.cancel()
        }
        guard taken < all.count else { throw Overdue() }
        taken += 1
        return all[taken - 1]
    }

    private func wake() {
        waiting?.resume()
        waiting = nil
    }
}

/// Lets the loop dispatch everything that is ready, and what follows from that at once.
@EventLoopActor
func turnLoop() async throws {
    let turned = Arrivals<Void>()
    // What became ready earlier is dispatched earlier; the second round also catches what the first has caused.
    for _ in 0..<2 {
        let timer = try Timer { turned.add(()) }
        timer.arm(after: .milliseconds(1))
        try await turned.next()
    }
}
