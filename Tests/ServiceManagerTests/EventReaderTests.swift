import JSON
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

/// What a reader of events gets, and what is kept for it.
@Suite(.onEventLoop, .serialized, .hangLimit)
struct EventReaderTests {
    /// A service whose events count so many bytes.
    private static func service(bytes: Int = 1100) throws -> Service {
        let spec = try Rig.spec("web") { draft in
            draft["cwd"] = "/0123456789"
            draft["command"] = .string(String(repeating: "x", count: bytes - 1024 - 2 * 11))
        }
        let record = ServiceRecord(id: "id", spec: spec, createdAt: Timestamp(microseconds: 0))
        return Service(record: record, state: UnitState(), intent: .none)
    }

    @EventLoopActor private static func append(_ count: Int, to events: EventLog, bytes: Int) throws {
        let service = try service(bytes: bytes)
        for _ in 0..<count { events.append(.state, .stopped, service) }
    }

    /// What counts so many bytes that there is a whole number of it in each limit.
    private static let eventBytes = 8192

    private static func position(_ sequence: Int) -> EventPosition {
        EventPosition(bootID: Rig.bootID, sequence: sequence)
    }

    private static func sequences(_ piece: EventPiece) -> [Int]? {
        guard case .events(let events) = piece else { return nil }
        return events.map(\.sequence)
    }

    // MARK: What is kept

    @Test(arguments: [0, 1]) @EventLoopActor
    func `so many events are kept and no more`(past: Int) throws {
        let events = EventLog()
        let first = events.nextSequence
        try Self.append(StreamLimits.eventsLimit + past, to: events, bytes: 1100)
        #expect(events.firstSequence == first + past)
        #expect(events.nextSequence == first + StreamLimits.eventsLimit + past)
        let kept = try #require(events.events(from: first + past, bytes: StreamLimits.eventsBytesLimit))
        #expect(kept.map(\.sequence) == Array(first + past..<events.nextSequence))
        #expect(events.events(from: first + past - 1, bytes: StreamLimits.eventsBytesLimit) == nil)
    }

    @Test(arguments: [0, 1]) @EventLoopActor
    func `so many bytes of events are kept and no more`(past: Int) throws {
        let events = EventLog()
        let first = events.nextSequence
        let limit = StreamLimits.eventsBytesLimit / Self.eventBytes
        try Self.append(limit + past, to: events, bytes: Self.eventBytes)
        #expect(events.byteCount(from: events.firstSequence) == StreamLimits.eventsBytesLimit)
        #expect(events.firstSequence == first + past)
    }

    @Test @EventLoopActor func `a long event takes the place of many`() throws {
        let events = EventLog()
        let first = events.nextSequence
        try Self.append(StreamLimits.eventsBytesLimit / Self.eventBytes, to: events, bytes: Self.eventBytes)
        try Self.append(1, to: events, bytes: 2 * Self.eventBytes + 1)
        #expect(events.firstSequence == first + 3)
    }

    @Test @EventLoopActor func `what is kept stays right over many times its size`() throws {
        let events = EventLog()
        let first = events.nextSequence
        for round in 1...5 {
            try Self.append(3000, to: events, bytes: 1100)
            #expect(events.nextSequence == first + 3000 * round)
            #expect(events.firstSequence == max(first, events.nextSequence - StreamLimits.eventsLimit))
            let kept = try #require(events.events(from: events.firstSequence, bytes: StreamLimits.eventsBytesLimit))
            #expect(kept.map(\.sequence) == Array(events.firstSequence..<events.nextSequence))
            #expect(events.byteCount(from: events.nextSequence - 10) == 11_000)
            #expect(events.byteCount(from: events.nextSequence) == 0)
        }
    }

    @Test @EventLoopActor func `an agent that is started anew goes on with higher numbers`() {
        let first = EventLog().nextSequence
        #expect(first > 0)
        // Microseconds, of which at least one has gone by.
        #expect(EventLog().nextSequence > first)
    }

    // MARK: Where it begins

    @Test @EventLoopActor func `a new reader gets all services by name and then what changes`() async throws {
        let rig = try Rig()
        try await rig.start()
        let names = ["web", "api", "db"]
        for name in names { _ = try await rig.create(name) }
        #expect(try await eventually { names.allSatisfy { rig.status($0) == .running } })
        let reader = try await rig.manager.readEvents(after: nil)
        guard case .snapshot(let services, let sequence, _) = await reader.next() else {
            Issue.record("no snapshot")
            return
        }
        #expect(services.map(\.name.description) == ["api", "db", "web"])
        #expect(services.map(\.status) == [.running, .running, .running])
        #expect(sequence == rig.manager.announcements.log.nextSequence - 1)
        rig.systemd.report("api", .running(pid: 101, startedAt: 101_000_000_000))
        rig.systemd.report("web", .running(pid: 102, startedAt: 102_000_000_000))
        var changes: [ServiceEvent] = []
        while changes.count < 2, case .events(let more) = await reader.next() { changes += more }
        #expect(changes.map(\.sequence) == [sequence + 1, sequence + 2])
        #expect(changes.map(\.service.state.mainPID) == [101, 102])
    }

    @Test @EventLoopActor func `a snapshot has what was told and not what is held back`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        let held = FakeSystemd.Unit.running(pid: 100, startedAt: 100_000_000_000)
            .ended("failed", "failed", code: 1, status: 3, result: "exit-code")
        // systemd says nothing more, and does not answer.
        rig.systemd.script = { $0.member == "Ping" ? .silence : nil }
        rig.systemd.report("web", held)
        #expect(try await eventually { rig.manager.services.values.first?.heldBack != nil })
        let reader = try await rig.manager.readEvents(after: nil)
        guard case .snapshot(let services, _, _) = await reader.next() else {
            Issue.record("no snapshot")
            return
        }
        #expect(services.map(\.status) == [.running])
        #expect(services.first?.record.run.ending == nil)
    }

    /// Where a reader says that it was, and what it gets first.
    enum Return: CaseIterable {
        case atTheEnd, oneBehind, atTheOldest, beforeTheOldest, inTheFuture, farInTheFuture, inAnotherBoot, atNothing
    }

    @Test(arguments: Return.allCases) @EventLoopActor
    func `who comes back goes on where that is known`(from place: Return) async throws {
        let rig = try Rig()
        try await rig.start()
        let events = rig.manager.announcements.log
        try Self.append(StreamLimits.eventsLimit + 7, to: events, bytes: 1100)
        let next = events.nextSequence
        let oldest = next - StreamLimits.eventsLimit
        let (position, first): (EventPosition, Int?) =
            switch place {
            case .atTheEnd: (Self.position(next - 1), next)
            case .oneBehind: (Self.position(next - 2), next - 1)
            case .atTheOldest: (Self.position(oldest - 1), oldest)
            case .beforeTheOldest: (Self.position(oldest - 2), nil)
            case .inTheFuture: (Self.position(next), nil)
            case .farInTheFuture: (Self.position(.max), nil)
            case .inAnotherBoot: (EventPosition(bootID: "another", sequence: next - 1), nil)
            case .atNothing: (EventPosition(bootID: "", sequence: 0), nil)
            }
        let reader = try await rig.manager.readEvents(after: position)
        guard let first else {
            #expect(await reader.next() == .gap)
            guard case .snapshot([], sequence: next - 1, _) = await reader.next() else {
                Issue.record("no snapshot")
                return
            }
            return
        }
        var told: [Int] = []
        while told.count < next - first, let more = Self.sequences(await reader.next()) { told += more }
        #expect(told == Array(first..<next))
        events.append(.state, nil, try Self.service())
        #expect(Self.sequences(await reader.next()) == [next])
    }

    // MARK: Who is slow

    @Test(arguments: [0, 1]) @EventLoopActor
    func `a reader may be so many bytes behind and no more`(past: Int) async throws {
        let rig = try Rig()
        try await rig.start()
        let events = rig.manager.announcements.log
        let reader = try await rig.manager.readEvents(after: Self.position(events.nextSequence - 1))
        let first = events.nextSequence
        let limit = StreamLimits.readerLagBytesLimit / Self.eventBytes
        try Self.append(limit + past, to: events, bytes: Self.eventBytes)
        if past > 0 {
            #expect(await reader.next() == .tooSlow)
            #expect(await reader.next() == .end)
            #expect(await reader.next() == .end)
            return
        }
        var told: [Int] = []
        while told.count < limit, let more = Self.sequences(await reader.next()) { told += more }
        #expect(told == Array(first..<first + limit))
    }

    @Test @EventLoopActor func `what was before a reader came is not what it is behind`() async throws {
        let rig = try Rig()
        try await rig.start()
        let events = rig.manager.announcements.log
        let limit = StreamLimits.readerLagBytesLimit / Self.eventBytes
        let first = events.nextSequence
        try Self.append(3 * limit, to: events, bytes: Self.eventBytes)
        let reader = try await rig.manager.readEvents(after: Self.position(first - 1))
        try Self.append(limit, to: events, bytes: Self.eventBytes)
        var told: [Int] = []
        while told.count < 4 * limit, let more = Self.sequences(await reader.next()) { told += more }
        #expect(told == Array(first..<first + 4 * limit))
        let other = try await rig.manager.readEvents(after: Self.position(first - 1))
        try Self.append(limit + 1, to: events, bytes: Self.eventBytes)
        #expect(await other.next() == .tooSlow)
    }

    @Test(arguments: [0, 1]) @EventLoopActor
    func `a reader gets so many bytes at a time and at least one event`(past: Int) async throws {
        let rig = try Rig()
        try await rig.start()
        let events = rig.manager.announcements.log
        let first = events.nextSequence
        let reader = try await rig.manager.readEvents(after: Self.position(first - 1))
        try Self.append(7, to: events, bytes: Self.eventBytes)
        try Self.append(1, to: events, bytes: Self.eventBytes + past)
        try Self.append(1, to: events, bytes: 65 * 1024)
        try Self.append(1, to: events, bytes: 1100)
        #expect(Self.sequences(await reader.next()) == Array(first..<first + 8 - past))
        if past > 0 { #expect(Self.sequences(await reader.next()) == [first + 7]) }
        #expect(Self.sequences(await reader.next()) == [first + 8])
        #expect(Self.sequences(await reader.next()) == [first + 9])
    }

    @Test @EventLoopActor func `all who wait are woken`() async throws {
        let rig = try Rig()
        try await rig.start()
        let events = rig.manager.announcements.log
        let pieces = Arrivals<EventPiece>()
        for _ in 0..<20 {
            let reader = try await rig.manager.readEvents(after: Self.position(events.nextSequence - 1))
            EventLoop.start { pieces.add(await reader.next()) }
        }
        try await turnLoop()
        #expect(pieces.all.isEmpty)
        let next = events.nextSequence
        events.append(.state, nil, try Self.service())
        try await turnLoop()
        #expect(pieces.all.count == 20)
        for _ in 0..<20 {
            let piece = try await pieces.next()
            #expect(Self.sequences(piece) == [next])
        }
    }

    @Test @EventLoopActor func `a reader that nobody waits for ends`() async throws {
        let rig = try Rig()
        try await rig.start()
        let reader = try await rig.manager.readEvents(
            after: Self.position(rig.manager.announcements.log.nextSequence - 1)
        )
        let pieces = Arrivals<EventPiece>()
        let task = EventLoop.start { pieces.add(await reader.next()) }
        try await turnLoop()
        #expect(pieces.all.isEmpty)
        task.cancel()
        // No timer runs out meanwhile.
        try await turnLoop()
        #expect(pieces.all == [.end])
    }

    // MARK: How many there are

    @Test @EventLoopActor func `so many streams are open at a time and no more`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        var query = LogQuery()
        query.isFollowing = true
        let limit = StreamLimits.streamsLimit
        var readers: [any EventReading] = []
        for _ in 0..<limit - 2 { readers.append(try await rig.manager.readEvents(after: nil)) }
        var logs: [any LogReading] = []
        for _ in 0..<2 { logs.append(try await rig.manager.readLog("web", query)) }
        #expect(rig.manager.streamCounts == (logs: 2, events: limit - 2))
        await #expect(throws: ControlError.tooManyStreams(limit: limit)) {
            _ = try await rig.manager.readEvents(after: nil)
        }
        await #expect(throws: ControlError.tooManyStreams(limit: limit)) {
            _ = try await rig.manager.readLog("web", query)
        }
        #expect(rig.manager.streamCounts == (logs: 2, events: limit - 2))
        logs.removeLast()
        readers.append(try await rig.manager.readEvents(after: nil))
        readers.removeFirst(3)
        #expect(rig.manager.streamCounts == (logs: 1, events: limit - 4))
        readers = []
        logs = []
        #expect(rig.manager.streamCounts == (logs: 0, events: 0))
    }

    @Test @EventLoopActor func `who cannot be told how things are is refused`() async throws {
        let rig = try Rig()
        await #expect(throws: ControlError.systemdUnavailable("the agent is starting")) {
            _ = try await rig.manager.readEvents(after: nil)
        }
        #expect(rig.manager.streamCounts == (logs: 0, events: 0))
    }
}
