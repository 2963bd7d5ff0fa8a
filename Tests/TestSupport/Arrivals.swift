package import Systemd
package import Testing

/// How long a test waits for something before that counts as never. Only a hang takes as long, however busy the machine.
package let patience = Duration.seconds(120)

extension Trait where Self == TimeLimitTrait {
    /// Ends a test that hangs.
    package static var hangLimit: Self { .timeLimit(.minutes(10)) }
}

/// What callbacks bring, in order, for a test that waits for it.
@EventLoopActor
package final class Arrivals<Value: Sendable> {
    /// Nothing came.
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
            deadline.arm(after: patience)
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
    // With a shorter patience it would come too early on a loop that was held up.
    let deferral = try Deferral(patience: patience) { turned.add(()) }
    // A deferral comes after whatever is ready; each round is a step of what follows from that.
    for _ in 0..<10 {
        deferral.request()
        try await turned.next()
    }
}

/// Lets the loop dispatch every timer that is due by now, or in a while.
@EventLoopActor
package func dispatchTimers(after duration: Duration = .milliseconds(1)) async throws {
    let elapsed = Arrivals<Void>()
    let timer = try Timer { elapsed.add(()) }
    timer.arm(after: duration)
    try await elapsed.next()
    try await turnLoop()
}

/// Waits until something is so, looking again after each turn of the loop and then after each timer.
@EventLoopActor
package func eventually(_ condition: @EventLoopActor () -> Bool) async throws -> Bool {
    for _ in 0..<50 where !condition() { try await turnLoop() }
    let begin = MonotonicClock.now()
    while !condition(), MonotonicClock.now().duration(since: begin) < patience { try await dispatchTimers() }
    return condition()
}

/// What an attempt gives that takes less than `time`. One that was held up for longer shows nothing and is repeated: for
/// what a timer would interrupt.
@EventLoopActor
package func undisturbed<Value>(
    within time: Duration,
    _ attempt: @EventLoopActor () async throws -> Value
) async throws -> Value {
    for _ in 0..<1000 {
        let begin = MonotonicClock.now()
        let result: Result<Value, any Error>
        do {
            result = .success(try await attempt())
        } catch {
            result = .failure(error)
        }
        if MonotonicClock.now().duration(since: begin) < time { return try result.get() }
    }
    throw Arrivals<Void>.Overdue()
}
