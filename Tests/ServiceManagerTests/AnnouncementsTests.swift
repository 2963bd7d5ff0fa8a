import JSON
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

/// What is told of the services, and when.
@Suite(.onEventLoop, .serialized, .hangLimit)
struct AnnouncementsTests {
    @EventLoopActor private static func create(_ rig: Rig, _ change: (inout SpecDraft) -> Void = { _ in }) async throws
    {
        _ = try await rig.manager.create(try Rig.spec("web", change))
        rig.systemd.report("web", running)
        rig.systemd.endJob("web")
        #expect(try await eventually { rig.status("web") == .running })
        try await turnLoop()
    }

    private static let running = FakeSystemd.Unit.running(pid: 100, startedAt: 100_000_000_000)

    private static func unit(_ unit: FakeSystemd.Unit, _ active: String, _ sub: String, restarts: UInt32 = 0)
        -> FakeSystemd.Unit
    {
        var unit = unit
        unit.active = active
        unit.sub = sub
        unit.restarts = restarts
        return unit
    }

    // MARK: What systemd says

    @Test @EventLoopActor func `every state of a unit is told once and in order`() async throws {
        let rig = try Rig()
        try await rig.start()
        try await Self.create(rig) { $0["restart"] = "no" }
        let listener = try await EventListener(rig)
        let running = Self.running
        let failed = running.ended("failed", "failed", code: 1, status: 3, result: "exit-code")
        let next = FakeSystemd.Unit.running(pid: 101, startedAt: 101_000_000_000)
        // All in one breath.
        rig.systemd.report("web", Self.unit(running, "reloading", "reload"))
        rig.systemd.report("web", running)
        rig.systemd.report("web", running)
        rig.systemd.report("web", Self.unit(running, "deactivating", "stop-sigterm"))
        rig.systemd.report("web", Self.unit(running, "deactivating", "stop-sigkill"))
        rig.systemd.report("web", failed)
        rig.systemd.report("web", failed.ended("inactive", "dead", code: 1, status: 3, result: "success"))
        rig.systemd.report("web", Self.unit(next, "activating", "start"))
        rig.systemd.report("web", next)
        try await listener.expect([
            "state running>running reloading/reload pid 100 exit -",
            "state running>running active/running pid 100 exit -",
            "state running>running deactivating/stop-sigterm pid 100 exit -",
            "state running>running deactivating/stop-sigkill pid 100 exit -",
            "state running>failed failed/failed pid - exit 3",
            "state failed>stopped inactive/dead pid - exit 3",
            "state stopped>starting activating/start pid 101 exit 3",
            "state starting>running active/running pid 101 exit 3",
        ]
        )
        #expect(listener.events.map(\.sequence) == Array(listener.events[0].sequence...listener.events[7].sequence))
    }

    @Test(arguments: 1...20) @EventLoopActor
    func `any sequence of living states is told as it was reported`(seed: UInt64) async throws {
        let rig = try Rig()
        try await rig.start()
        try await Self.create(rig)
        let listener = try await EventListener(rig)
        var random = SplitMix64(state: seed)
        let words = [
            ("activating", "start"), ("active", "running"), ("reloading", "reload"), ("deactivating", "stop-sigterm"),
            ("activating", "auto-restart"), ("maintenance", "new"),
        ]
        var expected: [String] = []
        var last = "active/running pid 100"
        for _ in 0..<200 {
            let (active, sub) = words.randomElement(using: &random) ?? words[0]
            let pid = UInt32.random(in: 100...102, using: &random)
            let unit = FakeSystemd.Unit.running(pid: pid, startedAt: UInt64(pid) * 1_000_000_000)
            rig.systemd.report("web", Self.unit(unit, active, sub))
            let state = "\(active)/\(sub) pid \(pid)"
            if state != last { expected.append(state) }
            last = state
            if Int.random(in: 0..<20, using: &random) == 0 { try await turnLoop() }
        }
        let told = try await listener.next(expected.count)
        #expect(told.map { $0.split(separator: " ").dropFirst(2).prefix(3).joined(separator: " ") } == expected)
    }

    @Test @EventLoopActor func `between the two signals of a change nothing is told`() async throws {
        let rig = try Rig()
        try await rig.start()
        try await Self.create(rig)
        let listener = try await EventListener(rig)
        let next = FakeSystemd.Unit.running(pid: 101, startedAt: 101_000_000_000)
        rig.systemd.reportService("web", next)
        try await turnLoop()
        rig.systemd.report("web", next)
        try await listener.expect(["state running>running active/running pid 101 exit -"])
    }

    /// What a crash looks like in two versions of systemd: the dead states among it are not states to a client.
    private static let crashes: [(version: Int, states: [FakeSystemd.Unit], told: [String])] = {
        let dead = running.ended("failed", "failed", code: 1, status: 3, result: "exit-code")
        let next = FakeSystemd.Unit.running(pid: 101, startedAt: 101_000_000_000)
        return [
            (
                252,
                [
                    dead, unit(dead, "activating", "auto-restart"),
                    unit(dead, "activating", "auto-restart", restarts: 1),
                    unit(next, "inactive", "dead", restarts: 1), unit(next, "activating", "start", restarts: 1),
                    unit(next, "active", "running", restarts: 1),
                ],
                [
                    "state running>starting activating/auto-restart pid - exit 3",
                    "state starting>starting activating/auto-restart pid - exit 3",
                    "state starting>starting activating/start pid 101 exit 3",
                    "state starting>running active/running pid 101 exit 3",
                ]
            ),
            (
                257,
                [
                    unit(dead, "failed", "failed-before-auto-restart"), unit(dead, "activating", "auto-restart"),
                    unit(dead, "activating", "auto-restart-queued", restarts: 1),
                    unit(next, "activating", "start", restarts: 1), unit(next, "active", "running", restarts: 1),
                ],
                [
                    "state running>starting activating/auto-restart pid - exit 3",
                    "state starting>starting activating/auto-restart-queued pid - exit 3",
                    "state starting>starting activating/start pid 101 exit 3",
                    "state starting>running active/running pid 101 exit 3",
                ]
            ),
        ]
    }()

    @Test(arguments: crashes.map(\.version)) @EventLoopActor
    func `a crash is told with its exit code and without the dead states in between`(version: Int) async throws {
        let rig = try Rig()
        try await rig.start()
        try await Self.create(rig)
        let listener = try await EventListener(rig)
        let crash = try #require(Self.crashes.first { $0.version == version })
        for state in crash.states { rig.systemd.report("web", state) }
        try await listener.expect(crash.told)
    }

    @Test(arguments: crashes.map(\.version)) @EventLoopActor
    func `a crash is told in the same way when what follows comes just before systemd's answer`(version: Int)
        async throws
    {
        let rig = try Rig()
        try await rig.start()
        try await Self.create(rig)
        let listener = try await EventListener(rig)
        let crash = try #require(Self.crashes.first { $0.version == version })
        var rest = crash.states[1...]
        rig.systemd.script = { call in
            if call.member == "Ping", !rest.isEmpty { rig.systemd.report("web", rest.removeFirst()) }
            return nil
        }
        rig.systemd.report("web", crash.states[0])
        #expect(try await eventually { rest.count < crash.states.count - 1 })
        let others = rest
        rest = []
        for state in others { rig.systemd.report("web", state) }
        try await listener.expect(crash.told)
    }

    @Test @EventLoopActor func `a failure that stays is told once`() async throws {
        let rig = try Rig()
        try await rig.start()
        try await Self.create(rig)
        let listener = try await EventListener(rig)
        let failed = Self.running.ended("failed", "failed", code: 2, status: 9, result: "signal")
        rig.systemd.report("web", failed)
        rig.systemd.report("web", failed)
        try await listener.expect(["state running>failed failed/failed pid - exit 137"])
        rig.systemd.report("web", failed)
        try await listener.expect([])
    }

    @Test @EventLoopActor func `a process that ends at once is told`() async throws {
        let rig = try Rig()
        try await rig.start()
        let listener = try await EventListener(rig)
        _ = try await rig.manager.create(try Rig.spec("web"))
        rig.systemd.report("web", Self.unit(Self.running, "activating", "start"))
        rig.systemd.endJob("web")
        rig.systemd.report("web", Self.running.ended("inactive", "dead", code: 1, status: 0, result: "success"))
        try await listener.expect([
            "created ->starting inactive/dead pid - exit -",
            "state starting>starting activating/start pid 100 exit -",
            "state starting>stopped inactive/dead pid - exit 0",
        ]
        )
    }

    @Test @EventLoopActor func `an end that somebody makes a new beginning of is told before that`() async throws {
        let rig = try Rig()
        try await rig.start()
        try await Self.create(rig)
        let listener = try await EventListener(rig)
        let next = FakeSystemd.Unit.running(pid: 101, startedAt: 101_000_000_000)
        // Without systemd's answer in between.
        rig.systemd.report("web", Self.running.ended("failed", "failed", code: 1, status: 3, result: "exit-code"))
        rig.systemd.report("web", Self.unit(next, "activating", "start"))
        rig.systemd.report("web", next)
        try await listener.expect([
            "state running>failed failed/failed pid - exit 3",
            "state failed>starting activating/start pid 101 exit 3",
            "state starting>running active/running pid 101 exit 3",
        ]
        )
    }

    @Test @EventLoopActor func `a failure that somebody has systemd forget is told before that`() async throws {
        let rig = try Rig()
        try await rig.start()
        try await Self.create(rig)
        let listener = try await EventListener(rig)
        let failed = Self.running.ended("failed", "failed", code: 1, status: 3, result: "exit-code")
        rig.systemd.report("web", failed)
        rig.systemd.report("web", failed.ended("inactive", "dead", code: 1, status: 3, result: "success"))
        try await listener.expect([
            "state running>failed failed/failed pid - exit 3", "state failed>stopped inactive/dead pid - exit 3",
        ])
    }

    // MARK: What is asked for

    @Test @EventLoopActor func `what is asked of a service is told as it comes about`() async throws {
        let rig = try Rig()
        try await rig.start()
        rig.systemd.obey()
        let listener = try await EventListener(rig)
        _ = try await rig.manager.create(try Rig.spec("web") { $0["restart"] = "no" })
        try await listener.expect([
            "created ->starting inactive/dead pid - exit -",
            "state starting>running active/running pid 1000 exit -",
        ]
        )
        _ = try await rig.manager.stop("web")
        try await listener.expect([
            "state running>running active/running pid 1000 exit -",
            "state running>stopped inactive/dead pid - exit 143",
        ]
        )
        _ = try await rig.manager.start("web")
        try await listener.expect([
            "state stopped>starting inactive/dead pid - exit 143",
            "state starting>running active/running pid 1002 exit 143",
        ]
        )
        _ = try await rig.manager.restart("web")
        try await listener.expect([
            "state running>running deactivating/stop-sigterm pid - exit 143",
            "state running>running active/running pid 1003 exit 143",
        ]
        )
        _ = try await rig.manager.replace(try Rig.spec("web") { $0["command"] = "other" })
        try await listener.expect([
            "updated running>running active/running pid 1003 exit 143",
            "state running>starting inactive/dead pid - exit 143",
            "state starting>running active/running pid 1005 exit 143",
        ]
        )
        #expect(listener.events.last?.service.record.spec.command == "other")
        _ = try await rig.manager.replace(try Rig.spec("web") { $0["command"] = "other" })
        try await listener.expect([])
        _ = try await rig.manager.delete("web", by: Requester(uid: 0, requestID: "r"))
        try await listener.expect([
            "state running>running active/running pid 1005 exit 143",
            "state running>stopped inactive/dead pid - exit 143",
            "removed stopped>stopped inactive/dead pid - exit 143",
        ]
        )
    }

    @Test @EventLoopActor func `a unit that systemd refuses is told as a failure`() async throws {
        let rig = try Rig()
        try await rig.start()
        rig.systemd.script = { call in
            call.member == "StartUnit"
                ? .error(name: "org.freedesktop.systemd1.UnitMasked", message: "Unit is masked.") : nil
        }
        let listener = try await EventListener(rig)
        _ = try await rig.manager.create(try Rig.spec("web"))
        try await listener.expect([
            "created ->starting inactive/dead pid - exit -", "state starting>failed inactive/dead pid - exit -",
        ]
        )
        #expect(listener.events.last?.service.refusal == "Unit is masked.")
    }

    @Test @EventLoopActor func `a creation whose start is lost with the connection is told when it runs`() async throws
    {
        let rig = try Rig()
        try await rig.start()
        rig.systemd.script = { call in
            guard call.member == "StartUnit", rig.systemd.calls(of: "StartUnit").count == 1 else { return nil }
            rig.systemd.afterwards { rig.systemd.disconnect() }
            return .silence
        }
        let listener = try await EventListener(rig)
        #expect(try await rig.manager.create(try Rig.spec("web")).status == .starting)
        rig.systemd.report("web", .running(pid: 5, startedAt: 5_000_000_000_000))
        rig.systemd.endJob("web")
        #expect(try await eventually { rig.status("web") == .running })
        let told = try await listener.next(2)
        #expect(told.first == "created ->starting inactive/dead pid - exit -")
        #expect(told.last == "state starting>running active/running pid 5 exit -")
        #expect(!told.contains { $0.hasPrefix("removed") })
    }

    @Test @EventLoopActor func `values of the environment are never told and their change is`() async throws {
        let rig = try Rig()
        try await rig.start()
        rig.systemd.obey()
        let listener = try await EventListener(rig)
        _ = try await rig.manager.create(try Rig.spec("web") { $0["env"] = ["A": "first-secret"] })
        #expect(try await listener.next(2).count == 2)
        _ = try await rig.manager.replace(try Rig.spec("web") { $0["env"] = ["A": "second-secret"] })
        let told = try await listener.next(3)
        #expect(told.map { $0.prefix { $0 != " " } } == ["updated", "state", "state"])
        let reader = try await rig.manager.readEvents(after: nil)
        guard case .snapshot(let services, _, _) = await reader.next() else {
            Issue.record("no snapshot")
            return
        }
        _ = try await rig.manager.delete("web", by: Requester(uid: 0, requestID: "r"))
        #expect(try await listener.next(3).count == 3)
        #expect(services.count == 1)
        let shown = services + listener.events.map(\.service)
        #expect(shown.allSatisfy { $0.record.spec.environment.isEmpty })
        let everything = String(reflecting: shown.map { ($0.record, $0.state, $0.refusal, $0.message) })
        #expect(everything.contains("server"))
        #expect(!everything.contains("secret"))
    }

    // MARK: While systemd is away

    @Test @EventLoopActor func `the first picture is no change`() async throws {
        let rig = try Rig()
        try rig.leave("up")
        try rig.leave("broken")
        rig.systemd.units[FakeSystemd.unit("up")] = .running(pid: 7)
        let before = rig.manager.announcements.log.nextSequence
        try await rig.start()
        try await turnLoop()
        #expect(rig.manager.announcements.log.nextSequence == before)
        #expect(rig.status("up") == .running)
    }

    @Test @EventLoopActor func `a failure in the first picture is there from the beginning`() async throws {
        let rig = try Rig()
        try rig.leave("broken")
        rig.systemd.units[FakeSystemd.unit("broken")] =
            Self.running.ended("failed", "failed", code: 1, status: 3, result: "exit-code")
        let before = rig.manager.announcements.log.nextSequence
        try rig.manager.start()
        await rig.manager.connectivity.wait(atMost: patience)
        #expect(rig.status("broken") == .failed)
        try await turnLoop()
        let events = rig.manager.announcements.log.events(from: before, bytes: StreamLimits.eventsBytesLimit) ?? []
        #expect(events.filter { $0.kind != .run }.isEmpty)
    }

    @Test @EventLoopActor func `what has changed while systemd was not heard is told once`() async throws {
        let rig = try Rig()
        try await rig.start()
        try await Self.create(rig)
        let others = ["failing", "same", "restarted"]
        for name in others { _ = try await rig.create(name) }
        #expect(try await eventually { others.allSatisfy { rig.status($0) == .running } })
        let listener = try await EventListener(rig)
        rig.systemd.takesConnections = false
        rig.systemd.disconnect()
        #expect(try await eventually { !rig.manager.isReady })
        rig.systemd.units[FakeSystemd.unit("web")] = nil
        rig.systemd.units[FakeSystemd.unit("failing")] =
            Self.running.ended("failed", "failed", code: 1, status: 3, result: "exit-code")
        rig.systemd.units[FakeSystemd.unit("restarted")] = .running(pid: 101, startedAt: 101_000_000_000)
        rig.systemd.takesConnections = true
        try await rig.untilReady()
        let told = try await listener.next(3)
        #expect(
            told == [
                "state running>failed failed/failed pid - exit 3",
                "state running>running active/running pid 101 exit -",
                "state running>stopped inactive/dead pid - exit -",
            ]
        )
        #expect(listener.events.map(\.service.name.description) == ["failing", "restarted", "web"])
        rig.systemd.takesConnections = false
        rig.systemd.disconnect()
        #expect(try await eventually { !rig.manager.isReady })
        rig.systemd.takesConnections = true
        try await rig.untilReady()
        try await listener.expect([])
    }
}
