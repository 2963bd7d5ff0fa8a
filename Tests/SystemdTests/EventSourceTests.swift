import CSystemd
import Glibc
import TestSupport
import Testing

@testable import Systemd

@Suite(.onEventLoop, .serialized, .hangLimit)
struct EventSourceTests {
    /// Two connected sockets.
    private final class Pair {
        let near: FileDescriptor
        private(set) var far: FileDescriptor?

        init() throws {
            var pair: [CInt] = [-1, -1]
            let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
            try checkErrno("socketpair") { socketpair(AF_UNIX, type, 0, &pair) }
            near = FileDescriptor(adopting: pair[0])
            far = FileDescriptor(adopting: pair[1])
        }

        func sendFromFar(_ text: String = "x") throws { _ = try far?.send(Array(text.utf8), from: 0) }

        func shutFar() { far?.shutdownSending() }

        func closeFar() { far = nil }
    }

    // MARK: Timer

    @Test @EventLoopActor func `a timer calls once, not before its time`() async throws {
        let calls = Arrivals<MonotonicClock>()
        let timer = try Timer { calls.add(.now()) }
        let begin = MonotonicClock.now()
        timer.arm(after: .milliseconds(60))
        #expect(try await calls.next().duration(since: begin) >= .milliseconds(60))
        try await dispatchTimers()
        #expect(calls.all.count == 1)
    }

    @Test @EventLoopActor func `a timer that is armed late in an iteration of the loop does not call early`()
        async throws
    {
        let calls = Arrivals<MonotonicClock>()
        let timer = try Timer { calls.add(.now()) }
        try await turnLoop()
        // The iteration takes a while: what a handler computes.
        let late = MonotonicClock.now().advanced(by: .milliseconds(20))
        while late.duration(since: .now()) > .zero {}
        let begin = MonotonicClock.now()
        timer.arm(after: .milliseconds(10))
        #expect(try await calls.next().duration(since: begin) >= .milliseconds(10))
    }

    @Test @EventLoopActor func `a timer is not put off to save the machine a wake-up`() async throws {
        let calls = Arrivals<Void>()
        let timer = try Timer { calls.add(()) }
        var durations: [Duration] = []
        for _ in 0..<21 {
            let begin = MonotonicClock.now()
            timer.arm(after: .milliseconds(1))
            try await calls.next()
            durations.append(MonotonicClock.now().duration(since: begin))
        }
        // sd_event_add_time(3): an accuracy of zero means that 250 ms late is good enough, and every time it comes as
        // late. A busy machine holds up some.
        #expect(durations.sorted()[durations.count / 2] < .milliseconds(125))
    }

    @Test @EventLoopActor func `a timer that is not armed does not call`() async throws {
        let calls = Arrivals<Void>()
        let timer = try Timer { calls.add(()) }
        try await dispatchTimers()
        #expect(calls.all.isEmpty)
        withExtendedLifetime(timer) {}
    }

    @Test @EventLoopActor func `arming again forgets the earlier time`() async throws {
        let calls = Arrivals<MonotonicClock>()
        let timer = try Timer { calls.add(.now()) }
        let begin = MonotonicClock.now()
        timer.arm(after: .milliseconds(1))
        timer.arm(after: .milliseconds(60))
        #expect(try await calls.next().duration(since: begin) >= .milliseconds(60))
        timer.arm(after: .zero)
        _ = try await calls.next()
        #expect(calls.all.count == 2)
    }

    @Test @EventLoopActor func `a cancelled timer does not call`() async throws {
        let calls = Arrivals<Void>()
        let timer = try Timer { calls.add(()) }
        timer.arm(after: .zero)
        timer.cancel()
        try await dispatchTimers()
        #expect(calls.all.isEmpty)
    }

    @Test @EventLoopActor func `a dropped timer does not call`() async throws {
        let calls = Arrivals<Void>()
        var timer: Timer? = try Timer { calls.add(()) }
        timer?.arm(after: .zero)
        timer = nil
        try await dispatchTimers()
        #expect(calls.all.isEmpty)
    }

    @Test @EventLoopActor func `a negative duration is due at once`() async throws {
        let calls = Arrivals<Void>()
        let timer = try Timer { calls.add(()) }
        timer.arm(after: .seconds(-5))
        try await calls.next()
    }

    @Test(arguments: [
        (Duration.zero, 0 as UInt64), (.microseconds(1), 1), (.nanoseconds(1999), 1), (.seconds(90), 90_000_000),
        (.milliseconds(1500), 1_500_000), (.seconds(-1), 0), (.milliseconds(-1), 0),
    ])
    @EventLoopActor
    func `durations are whole microseconds and never negative`(duration: Duration, expected: UInt64) {
        #expect(duration.microseconds == expected)
    }

    @Test @EventLoopActor func `a timer that is put off and then not has its earlier time`() async throws {
        let calls = Arrivals<Void>()
        let timer = try Timer { calls.add(()) }
        timer.arm(after: .milliseconds(5))
        timer.arm(after: .seconds(3600))
        try await dispatchTimers(after: .milliseconds(10))
        #expect(calls.all.isEmpty)
        timer.arm(after: .milliseconds(1))
        try await calls.next()
    }

    @Test @EventLoopActor func `a cancelled timer can be armed again`() async throws {
        let calls = Arrivals<Void>()
        let timer = try Timer { calls.add(()) }
        timer.arm(after: .milliseconds(5))
        timer.cancel()
        timer.arm(after: .milliseconds(10))
        try await calls.next()
        try await dispatchTimers()
        #expect(calls.all.count == 1)
    }

    // MARK: IOGroup

    @Test @EventLoopActor func `a group tells each descriptor's handler what it is ready for`() async throws {
        let calls = Arrivals<Int>()
        let group = try IOGroup(eventsAtATime: 16)
        let pairs = try (0..<3).map { _ in try Pair() }
        var watches: [IOGroup.Watch] = []
        for (number, pair) in pairs.enumerated() {
            let events: IOWatch.Events = number == 2 ? [.readable, .writable] : .readable
            let watch = try group.watch(pair.near, events) { [unowned pair] events in
                calls.add(number)
                #expect(events == (number == 2 ? .writable : .readable))
                watches[number].events = []
                withExtendedLifetime(pair) {}
            }
            watches.append(watch)
        }
        try pairs[1].sendFromFar()
        var called = [try await calls.next(), try await calls.next()]
        #expect(called.sorted() == [1, 2])
        try await turnLoop()
        #expect(calls.all.count == 2)
        // Level-triggered: what was not read is still there.
        watches[1].events = .readable
        called = [try await calls.next()]
        #expect(called == [1])
    }

    @Test @EventLoopActor func `a handler that drops another's watch keeps it from being called`() async throws {
        let calls = Arrivals<Int>()
        let group = try IOGroup(eventsAtATime: 16)
        var pairs = try (0..<2).map { _ in try Pair() }
        var watches: [IOGroup.Watch?] = [nil, nil]
        for number in 0..<2 {
            watches[number] = try group.watch(pairs[number].near, .readable) { _ in
                calls.add(number)
                // Of both, ready at once: descriptors and watches go, and the numbers are used anew.
                watches = [nil, nil]
                pairs = []
                pairs = [try? Pair(), try? Pair()].compactMap { $0 }
                watches = pairs.map { pair in
                    try? group.watch(pair.near, .readable) { _ in
                        calls.add(2)
                        watches = [nil, nil]
                    }
                }
            }
        }
        for pair in pairs { try pair.sendFromFar() }
        let first = try await calls.next()
        #expect(first < 2)
        // The event of the other descriptor is not for the new one that has its number.
        try await turnLoop()
        #expect(calls.all.count == 1)
        try pairs[1 - first].sendFromFar()
        #expect(try await calls.next() == 2)
    }

    @Test @EventLoopActor func `a group lets others go first after as many as it may handle at a time`() async throws {
        let order = Arrivals<String>()
        let group = try IOGroup(eventsAtATime: 2)
        let pairs = try (0..<4).map { _ in try Pair() }
        var watches: [IOGroup.Watch?] = []
        for (number, pair) in pairs.enumerated() {
            try pair.sendFromFar()
            watches.append(
                try group.watch(pair.near, .readable) { _ in
                    order.add("group")
                    watches[number] = nil
                }
            )
        }
        let other = try Pair()
        try other.sendFromFar()
        var watch: IOWatch?
        watch = try IOWatch(other.near, .readable) { _ in
            order.add("other")
            watch = nil
        }
        for _ in 0..<5 { _ = try await order.next() }
        let place = try #require(order.all.firstIndex(of: "other"))
        #expect(place == 0 || place == 2)
        #expect(watch == nil)
    }

    // MARK: Deferral

    @Test @EventLoopActor func `a deferral calls once for many requests, and again when asked again`() async throws {
        let calls = Arrivals<Void>()
        let deferral = try Deferral { calls.add(()) }
        try await dispatchTimers()
        #expect(calls.all.isEmpty)
        for _ in 0..<3 { deferral.request() }
        try await calls.next()
        try await dispatchTimers()
        #expect(calls.all.count == 1)
        deferral.request()
        try await calls.next()
        #expect(calls.all.count == 2)
    }

    @Test @EventLoopActor func `a deferral comes after everything that is ready`() async throws {
        let order = Arrivals<String>()
        let deferral = try Deferral { order.add("deferral") }
        let pairs = try (0..<4).map { _ in try Pair() }
        var watches: [IOWatch] = []
        for pair in pairs {
            watches.append(
                try IOWatch(pair.near, .readable) { _ in
                    var buffer = [UInt8](repeating: 0, count: 8)
                    _ = try? pair.near.receive(into: &buffer)
                    order.add("ready")
                    deferral.request()
                }
            )
            try pair.sendFromFar()
        }
        for _ in 0..<5 { _ = try await order.next() }
        #expect(order.all == ["ready", "ready", "ready", "ready", "deferral"])
        withExtendedLifetime(watches) {}
    }

    @Test @EventLoopActor func `a dropped deferral does not call`() async throws {
        let calls = Arrivals<Void>()
        var deferral: Deferral? = try Deferral { calls.add(()) }
        deferral?.request()
        deferral = nil
        try await dispatchTimers()
        #expect(calls.all.isEmpty)
    }

    // MARK: IOWatch

    @Test @EventLoopActor func `a watch calls while its descriptor is readable`() async throws {
        let pair = try Pair()
        let calls = Arrivals<IOWatch.Events>()
        let watch = try IOWatch(pair.near, .readable) { calls.add($0) }
        try await turnLoop()
        #expect(calls.all.isEmpty)
        try pair.sendFromFar()
        // Nobody reads: the watch is level-triggered.
        for _ in 0..<3 { #expect(try await calls.next() == .readable) }
        watch.events = []
        let count = calls.all.count
        try await turnLoop()
        #expect(calls.all.count == count)
    }

    @Test @EventLoopActor func `a watch tells room for writing, the peer's end and the end of both`() async throws {
        let pair = try Pair()
        let calls = Arrivals<IOWatch.Events>()
        let watch = try IOWatch(pair.near, .writable) { calls.add($0) }
        #expect(try await calls.next() == .writable)
        watch.events = .readable
        try await turnLoop()
        let writableCount = calls.all.count
        pair.shutFar()
        for _ in 0..<writableCount { _ = try await calls.next() }
        #expect(calls.all[writableCount] == .readable)
        watch.events = []
        let closedCount = calls.all.count
        try await turnLoop()
        #expect(calls.all.count == closedCount)
        pair.closeFar()
        while calls.all.count == closedCount { _ = try await calls.next() }
        #expect(calls.all.last == .hungUp)
        withExtendedLifetime(watch) {}
    }

    @Test @EventLoopActor func `a dropped watch does not call`() async throws {
        let pair = try Pair()
        let calls = Arrivals<IOWatch.Events>()
        var watch: IOWatch? = try IOWatch(pair.near, .readable) { calls.add($0) }
        try pair.sendFromFar()
        withExtendedLifetime(watch) {}
        watch = nil
        try await turnLoop()
        #expect(calls.all.isEmpty)
    }

    /// Holds the watches, so that one's handler can drop the other.
    @EventLoopActor
    private final class Watches {
        var all: [IOWatch] = []
    }

    @Test @EventLoopActor func `a watch that another handler drops in the same round does not call`() async throws {
        for _ in 0..<50 {
            let pairs = try [Pair(), Pair()]
            let watches = Watches()
            let calls = Arrivals<Int>()
            for (index, pair) in pairs.enumerated() {
                watches.all.append(
                    try IOWatch(pair.near, .readable) { _ in
                        calls.add(index)
                        watches.all = []
                    }
                )
            }
            for pair in pairs { try pair.sendFromFar() }
            try await turnLoop()
            #expect(calls.all.count == 1)
        }
    }

    /// A watch and the socket that it watches, under a number that nothing else in the process gets.
    @EventLoopActor
    private final class Numbered {
        static let number: CInt = 500

        private let pair: Pair
        private var socket: Socket?
        private var watch: IOWatch?

        private final class Socket {
            let descriptor: FileDescriptor

            init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
        }

        init(_ handler: @escaping @EventLoopActor (Numbered) -> Void) throws {
            let pair = try Pair()
            self.pair = pair
            let raw = try checkErrno("fcntl") { fcntl(pair.near.raw, F_DUPFD_CLOEXEC, Self.number) }
            try #require(raw == Self.number)
            let socket = Socket(FileDescriptor(adopting: raw))
            self.socket = socket
            watch = try IOWatch(socket.descriptor, .readable) { [weak self] _ in
                if let self { handler(self) }
            }
        }

        func send() throws { try pair.sendFromFar() }

        func close() {
            watch = nil
            socket = nil
        }
    }

    @Test @EventLoopActor
    func `a watch that its own handler drops does not take the next one of that number with it`() async throws {
        let made = Arrivals<Numbered>()
        let calls = Arrivals<String>()
        let first = try Numbered { first in
            first.close()
            do {
                made.add(try Numbered { _ in calls.add("second") })
            } catch {
                Issue.record(error)
            }
        }
        try first.send()
        let second = try await made.next()
        try second.send()
        #expect(try await calls.next() == "second")
        second.close()
    }

    // MARK: Waiting once

    @Test @EventLoopActor func `a wait ends when the descriptor is ready, and does not read`() async throws {
        let pair = try Pair()
        let ends = Arrivals<Void>()
        EventLoop.start {
            await IOWatch.wait(for: pair.near, .readable, atMost: .seconds(600))
            ends.add(())
        }
        try await turnLoop()
        #expect(ends.all.isEmpty)
        try pair.sendFromFar()
        try await ends.next()
        var buffer = [UInt8](repeating: 0, count: 8)
        #expect(try pair.near.receive(into: &buffer) == .bytes(1))
    }

    @Test @EventLoopActor func `a wait for what is there already ends at once`() async throws {
        let pair = try Pair()
        await IOWatch.wait(for: pair.near, .writable, atMost: .seconds(600))
        try pair.sendFromFar()
        for _ in 0..<2 { await IOWatch.wait(for: pair.near, .readable, atMost: .seconds(600)) }
    }

    @Test @EventLoopActor func `a wait ends when the peer goes`() async throws {
        let pair = try Pair()
        let ends = Arrivals<Void>()
        EventLoop.start {
            await IOWatch.wait(for: pair.near, .readable, atMost: .seconds(600))
            ends.add(())
        }
        try await turnLoop()
        #expect(ends.all.isEmpty)
        pair.closeFar()
        try await ends.next()
    }

    @Test @EventLoopActor func `a wait ends with its time`() async throws {
        let pair = try Pair()
        let begin = MonotonicClock.now()
        await IOWatch.wait(for: pair.near, .readable, atMost: .milliseconds(60))
        #expect(MonotonicClock.now().duration(since: begin) >= .milliseconds(60))
        await IOWatch.wait(for: pair.near, .readable, atMost: .zero)
    }

    @Test @EventLoopActor func `one who waits is not woken by what another one waits for`() async throws {
        let pairs = try (0..<2).map { _ in try Pair() }
        let ends = Arrivals<Int>()
        for (index, pair) in pairs.enumerated() {
            EventLoop.start {
                await IOWatch.wait(for: pair.near, .readable, atMost: .seconds(600))
                ends.add(index)
            }
        }
        try await turnLoop()
        try pairs[1].sendFromFar()
        #expect(try await ends.next() == 1)
        try await turnLoop()
        #expect(ends.all == [1])
        try pairs[0].sendFromFar()
        #expect(try await ends.next() == 0)
    }

    // MARK: SignalWatch

    @Test @EventLoopActor func `a signal to the process becomes a call on the loop`() async throws {
        let calls = Arrivals<Bool?>()
        let watch = try SignalWatch(Signal(rawValue: SIGUSR2)) { _ in
            calls.add(EventLoop.shared.isIsolatingCurrentContext())
        }
        // To this thread: the others of a test process do not block it.
        raise(SIGUSR2)
        #expect(try await calls.next() == true)
        withExtendedLifetime(watch) {}
    }
}
