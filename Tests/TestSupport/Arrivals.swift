package import Systemd

/// What callbacks bring, in order, for a test that waits for it.
@EventLoopActor
package final class Arrivals<Value: Sendable> {
    /// Nothing came in the time that even a busy machine needs.
    package struct Overdue: Error {}

    /// All that has come so far.
    package private(set) var all: [Value] = []
    private var taken = 0
    private var waiting: CheckedContinuation<Void, Never>?

    package init() {}

    package func add(_ value: Value) {
        all.append(value)
        wake()
    }

    /// The next value that has not been taken yet; waits for it.
    package func next() async throws -> Value {
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

/// Lets the loop dispatch what is ready, and what follows from that at once. Timers are not waited for.
@EventLoopActor
package func turnLoop() async throws {
    let turned = Arrivals<Void>()
    let deferral = try Deferral { turned.add(()) }
    // A deferral comes after whatever is ready; each round is a step of what follows from that.
    for _ in 0..<10 {
        deferral.request()
        try await turned.next()
    }
}

/// Lets the loop dispatch every timer that is due by now.
@EventLoopActor
package func dispatchTimers() async throws {
    let elapsed = Arrivals<Void>()
    let timer = try Timer { elapsed.add(()) }
    timer.arm(after: .milliseconds(1))
    try await elapsed.next()
    try await turnLoop()
}
