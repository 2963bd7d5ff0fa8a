import Glibc
import TestSupport
import Testing

@testable import Systemd

@Suite(.onEventLoop, .serialized, .hangLimit)
struct EventLoopTests {
    @Test @EventLoopActor func `a test runs on the loop's thread`() {
        #expect(EventLoop.shared.isIsolatingCurrentContext() == true)
    }

    @EventLoopActor
    private static func twoSteps(
        _ steps: Arrivals<String>,
        by start: (@escaping @EventLoopActor () async -> Void) -> Void = { EventLoop.start($0) }
    ) {
        start {
            steps.add("begin")
            await Task.yield()
            steps.add("end")
        }
        steps.add("caller")
    }

    @Test @EventLoopActor
    func `a task started by a callback begins when the callback is done`() async throws {
        let steps = Arrivals<String>()
        let timer = try Timer { Self.twoSteps(steps) }
        timer.arm(after: .zero)
        for _ in 0..<3 { _ = try await steps.next() }
        #expect(steps.all == ["caller", "begin", "end"])
    }

    @Test @EventLoopActor
    func `a task started by a task begins when that one suspends`() async throws {
        let steps = Arrivals<String>()
        EventLoop.start { Self.twoSteps(steps) }
        for _ in 0..<3 { _ = try await steps.next() }
        #expect(steps.all == ["caller", "begin", "end"])
    }

    @Test @EventLoopActor
    func `a task that a callback begins has done what it can when the callback goes on`() async throws {
        let steps = Arrivals<String>()
        let timer = try Timer {
            EventLoop.start { steps.add("earlier") }
            Self.twoSteps(steps, by: EventLoop.begin)
        }
        timer.arm(after: .zero)
        for _ in 0..<4 { _ = try await steps.next() }
        #expect(steps.all == ["earlier", "begin", "caller", "end"])
    }

    @Test @EventLoopActor
    func `a task that a task begins waits for that one to suspend`() async throws {
        let steps = Arrivals<String>()
        EventLoop.start { Self.twoSteps(steps, by: EventLoop.begin) }
        for _ in 0..<3 { _ = try await steps.next() }
        #expect(steps.all == ["caller", "begin", "end"])
    }

    @Test @EventLoopActor func `a task that another thread starts runs on the loop`() async throws {
        let places = Arrivals<Bool?>()
        await startElsewhere(places)
        #expect(try await places.next() == true)
    }

    @Test @EventLoopActor func `tasks that many threads start all run on the loop`() async throws {
        let places = Arrivals<Bool?>()
        var threads: [pthread_t] = []
        let context = Unmanaged.passRetained(places)
        for _ in 0..<8 {
            var thread = pthread_t()
            let result = pthread_create(&thread, nil, startHundredTasks, context.toOpaque())
            #expect(result == 0)
            threads.append(thread)
        }
        for _ in 0..<800 { #expect(try await places.next() == true) }
        for thread in threads { pthread_join(thread, nil) }
        context.release()
    }

    @Test @EventLoopActor func `a function that belongs to no actor stays on the loop with the task that calls it`()
        async
    {
        let here = pthread_self()
        #expect(await threadOfConcurrentFunction() == here)
        async let there = threadOfConcurrentFunction()
        #expect(await there == here)
    }

    @Test @EventLoopActor func `a resumed continuation comes back before anything else is dispatched`() async throws {
        let steps = Arrivals<String>()
        for _ in 0..<100 {
            let deferrals = try (0..<2).map { index in
                try Deferral {
                    // The first of the two resumes a task while the second is ready too.
                    steps.add("deferral \(index)")
                    EventLoop.start {
                        await Task.yield()
                        steps.add("task \(index)")
                    }
                }
            }
            for deferral in deferrals { deferral.request() }
            var order: [String] = []
            for _ in 0..<4 { order.append(try await steps.next()) }
            let first = order[0].last.map(String.init) ?? ""
            #expect(order.prefix(2) == ["deferral \(first)", "task \(first)"])
        }
    }
}

@concurrent
private func startElsewhere(_ places: Arrivals<Bool?>) async {
    EventLoop.start { places.add(EventLoop.shared.isIsolatingCurrentContext()) }
}

@concurrent
private func threadOfConcurrentFunction() async -> pthread_t { pthread_self() }

/// What a thread of its own does.
private func startHundredTasks(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    let places = Unmanaged<Arrivals<Bool?>>.fromOpaque(context!).takeUnretainedValue()
    for _ in 0..<100 {
        EventLoop.start { places.add(EventLoop.shared.isIsolatingCurrentContext()) }
    }
    return nil
}
