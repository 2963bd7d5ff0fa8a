import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

/// Something that a test opens when it likes.
@EventLoopActor
private final class Gate {
    private var waiting: [CheckedContinuation<Void, Never>] = []

    var waitingCount: Int { waiting.count }

    func wait() async { await withCheckedContinuation { waiting.append($0) } }

    func openOne() { waiting.removeFirst().resume() }
}

@Suite(.onEventLoop, .serialized, .hangLimit)
struct SerialQueueTests {
    @Test @EventLoopActor func `callers have their turns in the order in which they came`() async throws {
        let queues = KeyedSerialQueue<String>()
        let gate = Gate()
        let steps = Arrivals<Int>()
        for number in 0..<10 {
            EventLoop.start {
                try? await queues.run("a") {
                    steps.add(number)
                    await gate.wait()
                }
            }
        }
        for number in 0..<10 {
            #expect(try await steps.next() == number)
            try await turnLoop()
            #expect(gate.waitingCount == 1)
            #expect(steps.all.count == number + 1)
            gate.openOne()
        }
    }

    @Test @EventLoopActor func `different queues run side by side`() async throws {
        let queues = KeyedSerialQueue<String>()
        let gate = Gate()
        for key in ["a", "b", "c"] { EventLoop.start { try? await queues.run(key) { await gate.wait() } } }
        try await turnLoop()
        #expect(gate.waitingCount == 3)
        for _ in 0..<3 { gate.openOne() }
    }

    @Test @EventLoopActor func `an error leaves the queue to the next`() async throws {
        let queues = KeyedSerialQueue<String>()
        let steps = Arrivals<String>()
        for step in ["one", "two"] {
            await #expect(throws: ControlError.serviceNotFound) {
                try await queues.run("a") { () throws(ControlError) in
                    steps.add(step)
                    throw .serviceNotFound
                }
            }
        }
        #expect(steps.all == ["one", "two"])
    }

    @Test @EventLoopActor func `a queue is free when nobody is in it`() async {
        let queue = SerialQueue()
        for _ in 0..<3 {
            await queue.enter()
            #expect(queue.leave())
        }
    }
}

@Suite(.onEventLoop, .serialized, .hangLimit)
struct ReloadQueueTests {
    @EventLoopActor
    private func callers(
        _ numbers: Range<Int>,
        _ queue: ReloadQueue,
        _ reload: @escaping @EventLoopActor () async throws(BusError) -> Void
    ) -> Arrivals<BusError?> {
        let ends = Arrivals<BusError?>()
        for _ in numbers {
            EventLoop.start {
                do throws(BusError) {
                    try await queue.run(reload)
                    ends.add(nil)
                } catch {
                    ends.add(error)
                }
            }
        }
        return ends
    }

    @Test @EventLoopActor func `all who ask while one runs share exactly the next one`() async throws {
        let queue = ReloadQueue()
        let gate = Gate()
        let begins = Arrivals<Int>()
        let reload: @EventLoopActor () async throws(BusError) -> Void = { () throws(BusError) in
            begins.add(begins.all.count)
            await gate.wait()
        }
        let first = callers(0..<1, queue, reload)
        _ = try await begins.next()
        let second = callers(0..<5, queue, reload)
        try await turnLoop()
        #expect(begins.all.count == 1)
        gate.openOne()
        #expect(try await first.next() == nil)
        _ = try await begins.next()
        try await turnLoop()
        #expect(begins.all.count == 2)
        #expect(second.all.isEmpty)
        // The second has begun, so it is too late to join it.
        let third = callers(0..<3, queue, reload)
        try await turnLoop()
        gate.openOne()
        for _ in 0..<5 { #expect(try await second.next() == nil) }
        #expect(third.all.isEmpty)
        _ = try await begins.next()
        gate.openOne()
        for _ in 0..<3 { #expect(try await third.next() == nil) }
        #expect(begins.all.count == 3)
        let fourth = callers(0..<1, queue, reload)
        _ = try await begins.next()
        gate.openOne()
        #expect(try await fourth.next() == nil)
    }

    @Test @EventLoopActor func `all who share a reload share its failure and the next one is free of it`() async throws
    {
        let queue = ReloadQueue()
        let gate = Gate()
        let failure = BusError.remote(name: "org.example.No", message: "no")
        let begins = Arrivals<Void>()
        let reload: @EventLoopActor () async throws(BusError) -> Void = { () throws(BusError) in
            begins.add(())
            await gate.wait()
            if begins.all.count == 2 { throw failure }
        }
        let first = callers(0..<1, queue, reload)
        try await begins.next()
        let second = callers(0..<3, queue, reload)
        try await turnLoop()
        gate.openOne()
        #expect(try await first.next() == nil)
        try await begins.next()
        gate.openOne()
        for _ in 0..<3 { #expect(try await second.next() == failure) }
        let third = callers(0..<1, queue, reload)
        try await begins.next()
        gate.openOne()
        #expect(try await third.next() == nil)
    }
}

@Suite(.onEventLoop, .serialized, .hangLimit)
struct JobTests {
    @Test @EventLoopActor func `a job ends once, for all who wait and all who come later`() async throws {
        let job = Job()
        let results = Arrivals<String>()
        for _ in 0..<3 {
            EventLoop.start { results.add((try? await job.result(within: .seconds(60))) ?? "failure") }
        }
        try await turnLoop()
        #expect(results.all.isEmpty)
        job.end(.success("done"))
        job.end(.success("failed"))
        job.end(.failure(.disconnected))
        for _ in 0..<3 { #expect(try await results.next() == "done") }
        #expect(try await job.result(within: .zero) == "done")
    }

    @Test @EventLoopActor func `a job that does not end is waited for no longer than said`() async {
        let job = Job()
        await #expect(throws: Job.Failure.timeout) { try await job.result(within: .milliseconds(10)) }
    }

    @Test @EventLoopActor func `a job whose connection is lost ends with that`() async {
        let job = Job()
        job.end(.failure(.disconnected))
        await #expect(throws: Job.Failure.disconnected) { try await job.result(within: .seconds(60)) }
    }
}
