import TestSupport
import Testing

@testable import Systemd

/// Keeps the loop from coming to rest: there is always something ready.
@EventLoopActor
private final class BusyLoop {
    private var timer: Timer?
    private var watch: IOWatch?
    private let socket: Socket
    private let steps: Arrivals<String>?

    private final class Socket {
        let near: FileDescriptor
        let far: FileDescriptor

        init(_ near: consuming FileDescriptor, _ far: consuming FileDescriptor) {
            self.near = near
            self.far = far
        }
    }

    enum Means: CaseIterable {
        case timers
        case descriptors
    }

    init(_ means: Means, _ steps: Arrivals<String>? = nil) throws {
        self.steps = steps
        var made: Socket?
        try FileDescriptor.streamPair { near, far in made = Socket(near, far) }
        socket = made!
        switch means {
        case .timers:
            timer = try Timer { [weak self] in
                self?.steps?.add("busy")
                self?.timer?.arm(after: .zero)
            }
            timer?.arm(after: .zero)
        case .descriptors:
            // There is always room for more.
            watch = try IOWatch(socket.near, .writable) { [weak self] _ in self?.steps?.add("busy") }
        }
    }

    isolated deinit { watch = nil }
}

@Suite(.onEventLoop, .serialized, .hangLimit)
struct LoopTurnTests {
    @Test @EventLoopActor func `turns come in the order in which they were asked for`() async throws {
        let steps = Arrivals<String>()
        for name in ["a", "b", "c"] {
            EventLoop.start {
                for round in 0..<3 {
                    await LoopTurn.wait()
                    steps.add("\(name)\(round)")
                }
            }
        }
        for _ in 0..<9 { _ = try await steps.next() }
        #expect(steps.all == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"])
    }

    @Test @EventLoopActor func `what is ready comes before the turn, and between two turns`() async throws {
        // A loop that was held up for longer gives turns all the same: that attempt shows nothing.
        for _ in 0..<1000 {
            let begin = MonotonicClock.now()
            let steps = try await stepsOfTurns()
            guard MonotonicClock.now().duration(since: begin) < LoopTurn.patience else { continue }
            #expect(Set(steps.prefix(2)) == ["before the first turn", "before the second turn"])
            #expect(steps.dropFirst(2) == ["first turn", "between", "second turn", "third turn"])
            return
        }
        Issue.record("the machine is too busy to show it")
    }

    @EventLoopActor private func stepsOfTurns() async throws -> [String] {
        let steps = Arrivals<String>()
        for name in ["first turn", "second turn"] {
            EventLoop.start {
                let timer = try? Timer { steps.add("before the \(name)") }
                timer?.arm(after: .zero)
                await LoopTurn.wait()
                steps.add(name)
                withExtendedLifetime(timer) {}
                guard name == "first turn" else { return }
                let between = try? Timer { steps.add("between") }
                between?.arm(after: .zero)
                await LoopTurn.wait()
                withExtendedLifetime(between) {}
                steps.add("third turn")
            }
        }
        for _ in 0..<6 { _ = try await steps.next() }
        return steps.all
    }

    @Test(arguments: BusyLoop.Means.allCases) @EventLoopActor
    private func `a loop that does not come to rest still gives turns`(means: BusyLoop.Means) async throws {
        let steps = Arrivals<String>()
        let busy = try BusyLoop(means, steps)
        let count = 20
        for turn in 0..<count {
            await LoopTurn.wait()
            steps.add("turn \(turn)")
        }
        #expect(steps.all.filter { $0 != "busy" } == (0..<count).map { "turn \($0)" })
        // After most turns others come first. When the loop was held up, what is due comes in any order.
        let followers = zip(steps.all, steps.all.dropFirst()).filter { $0.0 != "busy" }.map(\.1)
        #expect(followers.count { $0 == "busy" } > count / 2)
        withExtendedLifetime(busy) {}
    }

    @Test(arguments: BusyLoop.Means.allCases) @EventLoopActor
    private func `a deferral waits for rest, and no longer than its patience`(means: BusyLoop.Means) async throws {
        let calls = Arrivals<MonotonicClock>()
        let busy = try BusyLoop(means)
        let deferral = try Deferral(patience: .milliseconds(60)) { calls.add(.now()) }
        let begin = MonotonicClock.now()
        for _ in 0..<3 { deferral.request() }
        #expect(try await calls.next().duration(since: begin) >= .milliseconds(60))
        try await dispatchWhileBusy()
        #expect(calls.all.count == 1)
        deferral.request()
        _ = try await calls.next()
        #expect(calls.all.count == 2)
        withExtendedLifetime(busy) {}
    }

    @Test @EventLoopActor func `a deferral that was called at rest is not called again at its deadline`() async throws {
        let calls = Arrivals<Void>()
        let deferral = try Deferral(patience: .milliseconds(5)) { calls.add(()) }
        deferral.request()
        try await calls.next()
        try await dispatchTimers(after: .milliseconds(20))
        #expect(calls.all.count == 1)
    }

    @Test @EventLoopActor func `a deferral may be asked for by its own handler`() async throws {
        let calls = Arrivals<Void>()
        var deferral: Deferral?
        deferral = try Deferral {
            calls.add(())
            if calls.all.count < 3 { deferral?.request() }
        }
        deferral?.request()
        for _ in 0..<3 { try await calls.next() }
        try await dispatchTimers()
        #expect(calls.all.count == 3)
        deferral = nil
    }

    /// A moment of a loop that does not come to rest.
    @EventLoopActor
    private func dispatchWhileBusy() async throws {
        let elapsed = Arrivals<Void>()
        let timer = try Timer { elapsed.add(()) }
        timer.arm(after: .milliseconds(1))
        try await elapsed.next()
    }
}
