import Foundation
import JSON
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

@Suite(.onEventLoop, .serialized, .hangLimit)
struct ServiceManagerTests {
    private static let requester = Requester(uid: 0, requestID: "r")

    // MARK: Starting the agent

    @Test @EventLoopActor func `the picture is complete once systemd has told of all units`() async throws {
        let rig = try Rig()
        try rig.leave("up")
        try rig.leave("down")
        try rig.leave("broken")
        try rig.leave("off") { $0.isToRun = false }
        rig.systemd.units[FakeSystemd.unit("up")] = .running(pid: 7)
        rig.systemd.units[FakeSystemd.unit("broken")] =
            .running(pid: 8).ended("failed", "failed", code: 1, status: 3, result: "exit-code")
        rig.systemd.units[FakeSystemd.unit("stranger")] = .running(pid: 9)
        #expect(rig.manager.outage == "the agent is starting")
        try await rig.start()
        let list = rig.manager.list()
        #expect(
            list.map { "\($0.name) \($0.status)" } == ["broken failed", "down stopped", "off stopped", "up running"]
        )
        #expect(list.last?.state.mainPID == 7)
        #expect(list.last?.record.run.invocationID == "07070707-0707-0707-0707-070707070707")
        #expect(list.last?.record.run.bootID == Rig.bootID)
        #expect(list.first?.record.run.ending == .exited(3))
        #expect(rig.systemd.calls(of: "StartUnit", "StopUnit", "Reload").isEmpty)
        let summary = try await rig.summaries.next()
        #expect(summary == ServiceManager.Summary(services: 4, running: 1, failed: 1))
    }

    @Test @EventLoopActor func `the list is of now, and the same as long as nothing changes`() async throws {
        let rig = try Rig()
        try await rig.start()
        for name in ["b", "a"] { _ = try await rig.create(name) }
        let list = rig.manager.list()
        #expect(list.map(\.name.description) == ["a", "b"])
        #expect(list.allSatisfy { $0.status == .running })
        let again = rig.manager.list()
        #expect(zip(list, again).allSatisfy { $0 === $1 })
        rig.systemd.report("a", .running(pid: 9).ended("failed", "failed", code: 1, status: 3, result: "exit-code"))
        #expect(try await eventually { rig.status("a") == .failed })
        #expect(rig.manager.list().map(\.status) == [.failed, .running])
        rig.systemd.obey()
        _ = try await rig.manager.delete("b", by: Self.requester)
        #expect(rig.manager.list().map(\.name.description) == ["a"])
    }

    /// What differs between the run in a record and the one that goes on; nothing does in the first.
    @Test(arguments: [
        ("", false), ("no link", true), ("another invocation", true), ("another boot", true), ("restarts", true),
        ("another process", true), ("ended", true), ("stopping", true),
    ])
    @EventLoopActor
    func `systemd is asked for no more of a run than the record does not tell`(what: String, isAsked: Bool) async throws
    {
        let rig = try Rig()
        let running = FakeSystemd.Unit.running(pid: 7, startedAt: 1_000_000)
        try rig.leave("web") { record in
            let startedAt = Timestamp(microseconds: Int64(running.startedAt))
            record.run = ServiceRun(
                startedAt: startedAt,
                exitedAt: what == "ended" ? Timestamp(microseconds: 2_000_000) : nil,
                ending: nil,
                result: nil,
                hasEnded: what == "ended"
            )
            record.run.remember(ServiceRun.Process(pid: 7, startedAt: Timestamp(microseconds: 1_000_000)))
            record.run.invocationID = "07070707-0707-0707-0707-070707070707"
            record.run.bootID = what == "another boot" ? "boot" : Rig.bootID
            record.run.restarts = what == "restarts" ? 1 : 0
            if what == "another process" {
                record.run.remember(ServiceRun.Process(pid: 6, startedAt: Timestamp(microseconds: 500_000)))
            }
        }
        if what != "no link" {
            let digit = what == "another invocation" ? "08" : "07"
            try rig.tellInvocation("web", String(repeating: digit, count: 16))
        }
        var unit = running
        if what == "stopping" { (unit.active, unit.sub) = ("deactivating", "stop-sigterm") }
        rig.systemd.units[FakeSystemd.unit("web")] = unit
        var asked = 0
        rig.systemd.script = { call in
            if call.member == "GetAll" { asked += 1 }
            return nil
        }
        try await rig.start()
        #expect(asked == (isAsked ? 1 : 0))
        let state = try rig.manager.service("web").state
        #expect(state.mainPID == 7)
        #expect(state.activeState.rawValue == unit.active)
        #expect(state.subState == unit.sub)
        #expect(state.invocationID == "07070707-0707-0707-0707-070707070707")
        #expect(state.main.startedAt == Timestamp(microseconds: 1_000_000))
        #expect(state.main.pid == 7)
        #expect(state.result == "success")
        #expect(state.restarts == 0)
        // What comes after is heard as ever.
        rig.systemd.report("web", running.ended("failed", "failed", code: 1, status: 3, result: "exit-code"))
        #expect(try await eventually { rig.status("web") == .failed })
    }

    @Test @EventLoopActor func `before systemd has told anything what is known without it is served`() async throws {
        let rig = try Rig()
        try rig.leave("enabled")
        try rig.leave("stopped") { $0.isToRun = false }
        let elsewhere = rig.systemd.socketPath + ".later"
        try FileManager.default.moveItem(atPath: rig.systemd.socketPath, toPath: elsewhere)
        try rig.manager.start()
        try await dispatchTimers()
        #expect(!rig.manager.isReady)
        let services = rig.manager.list()
        #expect(services.map(\.status) == [.starting, .stopped])
        #expect(services.allSatisfy { $0.state.activeState == .unknown && $0.message?.contains("not told") == true })
        #expect(try rig.manager.service("stopped").status == .stopped)
        let spec = try Rig.spec("web")
        await #expect(throws: ControlError.systemdUnavailable("the agent is starting")) {
            try await rig.manager.create(spec)
        }
        rig.systemd.units[FakeSystemd.unit("enabled")] = .running(pid: 7)
        try FileManager.default.moveItem(atPath: elsewhere, toPath: rig.systemd.socketPath)
        try await rig.untilReady()
        #expect(rig.manager.list().map(\.status) == [.running, .stopped])
        #expect(rig.status("stopped") == .stopped)
    }

    @Test @EventLoopActor func `a reading of the states that fails is made again`() async throws {
        let rig = try Rig()
        var failures = 1
        rig.systemd.script = { call in
            guard call.member == "ListUnitsByPatterns", failures > 0 else { return nil }
            failures -= 1
            return .error(name: "org.freedesktop.DBus.Error.LimitsExceeded", message: "not now")
        }
        try rig.manager.start()
        try await rig.untilReady()
    }

    @Test @EventLoopActor func `a run is written when the end of the run before has been looked up`() async throws {
        let rig = try Rig()
        let former = Rig.running(since: Timestamp(microseconds: 1_000_000))
        try rig.leave("web") { record in
            record.run = former
            record.run.invocationID = "01010101-0101-0101-0101-010101010101"
        }
        try rig.restart()
        rig.systemd.units[FakeSystemd.unit("web")] = .running(pid: 7, startedAt: 7_000_000)
        // The last question before the states are known.
        rig.systemd.script = { $0.path == rig.systemd.path(of: FakeSystemd.journal) ? .silence : nil }
        try rig.manager.start()
        let name = try #require(ServiceName("web"))
        #expect(try await eventually { rig.manager.services[name]?.record.run.startedAt != former.startedAt })
        rig.manager.desired.save(name)
        rig.manager.finish()
        #expect(try rig.record("web")?.run.startedAt == former.startedAt)
        rig.systemd.script = { _ in nil }
        rig.systemd.disconnect()
        try await rig.untilReady()
        #expect(try await eventually { (try? rig.record("web"))??.run.startedAt == Timestamp(microseconds: 7_000_000) })
    }

    @Test @EventLoopActor func `unit files that were removed by hand are told and not written until a start`()
        async throws
    {
        let rig = try Rig()
        try rig.leave("web") { $0.isToRun = true }
        try await rig.start()
        #expect(rig.files("web") == ["record"])
        let path = rig.layout.unitDirectory + "/miosa-service-web.service"
        #expect(rig.notices.all.count == 1)
        #expect(rig.notices.all[0].contains("the unit file \(path) is missing"))
        #expect(try rig.manager.service("web").subStatus == .drifted)
        rig.systemd.obey()
        #expect(try await rig.manager.start("web").drift == nil)
        #expect(rig.files("web") == ["unit", "link", "record"])
    }

    @Test @EventLoopActor func `a record that cannot be read is set aside and told`() async throws {
        let rig = try Rig()
        try rig.leave("web")
        try "{".write(toFile: rig.layout.recordDirectory + "/bad.json", atomically: true, encoding: .utf8)
        try await rig.start()
        #expect(rig.manager.list().map(\.name.description) == ["web"])
        #expect(rig.notices.all.contains { $0.hasPrefix("error: cannot read the record 'bad.json': ") })
        #expect(await rig.manager.readiness.unreadableRecords == ["bad.json.unreadable"])
    }

    // MARK: Create

    @Test @EventLoopActor func `create dispatches the start and does not wait for it`() async throws {
        let rig = try Rig()
        try await rig.start()
        let service = try await rig.manager.create(try Rig.spec("web") { $0["env"] = ["A": "secret"] })
        #expect(service.status == .starting)
        #expect(service.state.mainPID == nil)
        #expect(rig.systemd.calls(of: "StartUnit") == ["StartUnit miosa-service-web.service"])
        #expect(rig.files("web") == ["unit", "link", "environment", "record"])
        rig.systemd.report("web", .running(pid: 42, startedAt: 1_000_000))
        rig.systemd.endJob("web")
        #expect(try await eventually { rig.status("web") == .running })
        let running = try rig.manager.service("web")
        #expect(running.state.mainPID == 42)
        #expect(running.state.subState == "running")
        #expect(running.record.phase == .established)
        #expect(try rig.manager.service(service.record.id).name.description == "web")
        #expect(try await eventually { (try? rig.record("web"))??.run.startedAt == Timestamp(microseconds: 1_000_000) })
    }

    @Test @EventLoopActor func `between the two signals of a change the old state is shown`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web", pid: 1)
        rig.systemd.reportService("web", .running(pid: 2))
        try await turnLoop()
        #expect(try rig.manager.service("web").state.mainPID == 1)
        rig.systemd.report("web", .running(pid: 2))
        #expect(try await eventually { rig.manager.services.values.first?.state.mainPID == 2 })
    }

    @Test @EventLoopActor func `a name is taken once`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        await #expect(throws: ControlError.serviceExists) { try await rig.manager.create(try Rig.spec("web")) }
        #expect(rig.systemd.calls(of: "StartUnit").count == 1)
    }

    @Test @EventLoopActor func `of two creations at the same time one wins`() async throws {
        let rig = try Rig()
        try await rig.start()
        let spec = try Rig.spec("web")
        let outcomes = (0..<2).map { _ in Outcome { () throws(ControlError) in try await rig.manager.create(spec) } }
        #expect(try await outcomes[0].value().status == .starting)
        #expect(try await outcomes[1].error() == .serviceExists)
        #expect(rig.systemd.calls(of: "StartUnit").count == 1)
    }

    @Test @EventLoopActor func `a unit that systemd refuses is a failed service with the reason`() async throws {
        let rig = try Rig()
        try await rig.start()
        rig.systemd.script = { call in
            call.member == "StartUnit"
                ? .error(name: "org.freedesktop.systemd1.UnitMasked", message: "Unit is masked.") : nil
        }
        let service = try await rig.manager.create(try Rig.spec("web"))
        #expect(service.status == .failed)
        #expect(service.message == "systemd does not start the unit: Unit is masked.")
        // It may have been an old copy that systemd did not like.
        let start = "StartUnit miosa-service-web.service"
        #expect(rig.systemd.calls(of: "Reload", "StartUnit") == [start, "Reload", start])
        rig.systemd.obey()
        #expect(try await rig.manager.start("web").status == .running)
        #expect(try rig.manager.service("web").message == nil)
    }

    @Test @EventLoopActor func `a creation that cannot be written leaves nothing`() async throws {
        let rig = try Rig()
        try await rig.start()
        try FileManager.default.removeItem(atPath: rig.layout.unitDirectory)
        await #expect(throws: ControlError.storageFailed("open: No such file or directory")) {
            try await rig.manager.create(try Rig.spec("web") { $0["env"] = ["A": "b"] })
        }
        #expect(rig.files("web").isEmpty)
        #expect(rig.manager.list().isEmpty)
        #expect(rig.systemd.calls(of: "StartUnit").isEmpty)
    }

    @Test @EventLoopActor func `a creation whose start is lost with the connection goes on`() async throws {
        let rig = try Rig()
        try await rig.start()
        rig.systemd.script = { call in
            guard call.member == "StartUnit", rig.systemd.calls(of: "StartUnit").count == 1 else { return nil }
            rig.systemd.afterwards { rig.systemd.disconnect() }
            return .silence
        }
        let service = try await rig.manager.create(try Rig.spec("web"))
        #expect(service.status == .starting)
        #expect(service.pending == nil)
        #expect(rig.systemd.calls(of: "StartUnit").count == 2)
        #expect(rig.files("web") == ["unit", "link", "record"])
    }

    @Test @EventLoopActor func `a start that systemd has carried out before the connection was lost is not made again`()
        async throws
    {
        let rig = try Rig()
        try await rig.start()
        rig.systemd.script = { call in
            guard call.member == "StartUnit" else { return nil }
            rig.systemd.afterwards {
                let startedAt = UInt64(WallClock.now().microseconds) + 1_000_000
                rig.systemd.units[FakeSystemd.unit("web")] = .running(pid: 5, startedAt: startedAt)
                rig.systemd.disconnect()
            }
            return .silence
        }
        _ = try await rig.manager.create(try Rig.spec("web"))
        #expect(try await eventually { rig.status("web") == .running })
        #expect(rig.systemd.calls(of: "StartUnit").count == 1)
    }

    // MARK: Stale copies

    @Test(arguments: [true, false]) @EventLoopActor
    func `systemd is reloaded once when, and only when, it holds an old copy`(isStale: Bool) async throws {
        let rig = try Rig()
        try await rig.start()
        var unit = FakeSystemd.Unit()
        unit.isStale = isStale
        rig.systemd.units[FakeSystemd.unit("web")] = unit
        _ = try await rig.manager.create(try Rig.spec("web"))
        let calls = rig.systemd.calls(of: "Reload", "StartUnit")
        #expect(calls == (isStale ? ["Reload"] : []) + ["StartUnit miosa-service-web.service"])
    }

    @Test @EventLoopActor func `a unit that is not loaded is not asked about`() async throws {
        let rig = try Rig()
        try await rig.start()
        var asked: [String] = []
        rig.systemd.script = { call in
            if call.member == "Get" { asked.append(call.path) }
            return nil
        }
        _ = try await rig.manager.create(try Rig.spec("web"))
        #expect(asked.isEmpty)
        #expect(rig.systemd.calls(of: "Reload").isEmpty)
    }

    // MARK: Transient states

    @Test(arguments: ["failed", "inactive"]) @EventLoopActor
    func `a dead state before a restart by systemd is not shown`(transient: String) async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        let statuses = Arrivals<ServiceStatus?>()
        let dead = FakeSystemd.Unit.running(pid: 100)
            .ended(transient, transient == "failed" ? "failed" : "dead", code: 1, status: 3, result: "exit-code")
        var waiting = dead
        waiting.active = "activating"
        waiting.sub = "auto-restart"
        // Whatever systemd has said already comes before its answer.
        rig.systemd.script = { call in
            if call.member == "Ping" { rig.systemd.report("web", waiting) }
            return nil
        }
        rig.systemd.report("web", dead)
        for _ in 0..<30 {
            statuses.add(rig.status("web"))
            try await turnLoop()
        }
        #expect(statuses.all.allSatisfy { $0 == .running || $0 == .starting })
        #expect(statuses.all.last == .starting)
        let service = try rig.manager.service("web")
        #expect(service.record.run.ending == .exited(3))
        #expect(service.message == "exited with code 3; systemd starts it again")
    }

    @Test @EventLoopActor func `a dead state that stays is shown`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        let failed = FakeSystemd.Unit.running(pid: 100)
            .ended("failed", "failed", code: 1, status: 3, result: "exit-code")
        rig.systemd.report("web", failed)
        #expect(try await eventually { rig.status("web") == .failed })
        #expect(try rig.manager.service("web").state.mainPID == nil)
        // A reload of systemd takes every unit away for a moment.
        rig.systemd.unload("web")
        try await turnLoop()
        #expect(rig.status("web") == .failed)
        // Somebody resets the failure with systemctl.
        let reset = failed.ended("inactive", "dead", code: 1, status: 3, result: "success")
        rig.systemd.report("web", reset)
        #expect(try await eventually { rig.status("web") == .stopped })
        #expect(try rig.manager.service("web").record.run.ending == .exited(3))
    }

    // MARK: Start, stop, restart

    @Test @EventLoopActor func `a stop waits for the last process and stays over a restart of the agent`() async throws
    {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        let outcome = Outcome { () throws(ControlError) in try await rig.manager.stop("web") }
        #expect(try await eventually { !rig.systemd.calls(of: "StopUnit").isEmpty })
        #expect(!outcome.hasEnded)
        #expect(try rig.record("web")?.isToRun == false)
        #expect(rig.files("web") == ["unit", "record"])
        var stopping = FakeSystemd.Unit.running(pid: 100)
        stopping.active = "deactivating"
        stopping.sub = "stop-sigterm"
        rig.systemd.report("web", stopping)
        try await turnLoop()
        #expect(rig.status("web") == .running)
        rig.systemd.report("web", stopping.ended("inactive", "dead", code: 2, status: 15, result: "success"))
        rig.systemd.endJob("web")
        let service = try await outcome.value()
        #expect(service.status == .stopped)
        #expect(service.message == nil)
        #expect(service.record.run.ending?.exitCode == 143)
        await #expect(throws: ControlError.serviceNotRunning) { try await rig.manager.stop("web") }
        rig.manager.finish()
        rig.systemd.units = [:]
        try rig.restart()
        try await rig.start()
        let later = try rig.manager.service("web")
        #expect(later.status == .stopped)
        #expect(later.record.run.ending == .killed(signal: 15))
    }

    /// systemd's words for a service that is stopped, or deleted, before the states of its start have come.
    @EventLoopActor
    private func stopLate(_ rig: Rig) {
        let running = FakeSystemd.Unit.running(pid: 100, startedAt: 100_000_000_000)
        rig.systemd.units[FakeSystemd.unit("web")] = FakeSystemd.Unit()
        rig.systemd.endStops(of: "web", as: running) {
            // The job's end comes first.
            rig.systemd.report("web", running.ended("failed", "failed", code: 2, status: 9, result: "signal"))
        }
    }

    @Test @EventLoopActor func `a service that is stopped while it starts is stopped`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.manager.create(try Rig.spec("web"))
        stopLate(rig)
        let service = try await rig.manager.stop("web")
        #expect(service.status == .stopped)
        #expect(service.state.activeState == .failed)
    }

    /// With many units systemd takes long to answer, and is done with this one much sooner.
    @Test(arguments: ["stop", "delete"]) @EventLoopActor
    func `that systemd lets go of a unit is its last word`(verb: String) async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        rig.systemd.obey()
        let usual = rig.systemd.script
        var asked: [String] = []
        rig.systemd.script = { call in
            guard call.member == "Ping" else { return usual(call) }
            asked.append(call.member)
            return .silence
        }
        if verb == "stop" {
            let service = try await rig.manager.stop("web")
            #expect(service.status == .stopped)
            #expect(service.state.activeState == .inactive)
        } else {
            _ = try await rig.manager.delete("web", by: Self.requester)
            #expect(rig.manager.services.isEmpty)
        }
        // It was asked, for the case that something holds the unit.
        #expect(try await eventually { asked.count == (verb == "stop" ? 1 : 0) })
    }

    @Test @EventLoopActor func `the record for the audit has the end of the run that comes last`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.manager.create(try Rig.spec("web"))
        stopLate(rig)
        _ = try await rig.manager.delete("web", by: Self.requester)
        #expect(try await rig.manager.listRemoved().map(\.record.run.ending) == [.killed(signal: 9)])
    }

    @Test @EventLoopActor func `a deliberate stop that ends as a failure is a stop and leaves no failure`() async throws
    {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        let failed = FakeSystemd.Unit.running(pid: 100).ended("failed", "failed", code: 2, status: 9, result: "timeout")
        rig.systemd.endStops(of: "web", as: failed) {
            rig.systemd.afterwards {
                // What systemd says before it forgets the unit.
                var reset = failed
                reset.active = "inactive"
                reset.sub = "dead"
                reset.result = "success"
                rig.systemd.report("web", reset)
                rig.systemd.unload("web")
            }
        }
        let service = try await rig.manager.stop("web")
        #expect(service.status == .stopped)
        #expect(service.record.run.ending == .killed(signal: 9))
        #expect(service.message == "did not end within 10 s of SIGTERM and was killed")
        let calls = rig.systemd.calls(of: "StopUnit", "ResetFailedUnit").suffix(2)
        #expect(Array(calls) == ["StopUnit miosa-service-web.service", "ResetFailedUnit miosa-service-web.service"])
        try await turnLoop()
        #expect(rig.status("web") == .stopped)
        #expect(try rig.manager.service("web").message == service.message)
    }

    @Test @EventLoopActor func `start and restart wait for the job and answer with the new process`() async throws {
        let rig = try await Rig.serving()
        await #expect(throws: ControlError.serviceRunning) { try await rig.manager.start("web") }
        let before = try rig.manager.service("web").state.mainPID
        let restarted = try await rig.manager.restart("web")
        #expect(restarted.status == .running)
        #expect(restarted.state.mainPID != before)
        #expect(rig.systemd.calls(of: "RestartUnit").count == 1)
        #expect(try await rig.manager.stop("web").status == .stopped)
        #expect(rig.files("web") == ["unit", "record"])
        let started = try await rig.manager.restart("web")
        #expect(started.status == .running)
        #expect(rig.files("web") == ["unit", "link", "record"])
        #expect(rig.systemd.calls(of: "StartUnit").count == 2)
    }

    @Test @EventLoopActor func `a start by hand resets what systemd counted`() async throws {
        let rig = try Rig()
        try rig.leave("web")
        rig.systemd.units[FakeSystemd.unit("web")] =
            .running(pid: 8).ended("failed", "failed", code: 1, status: 3, result: "exit-code")
        try await rig.start()
        rig.systemd.obey()
        #expect(try await rig.manager.start("web").status == .running)
        let calls = rig.systemd.calls(of: "ResetFailedUnit", "StartUnit")
        #expect(calls == ["ResetFailedUnit miosa-service-web.service", "StartUnit miosa-service-web.service"])
    }

    @Test @EventLoopActor func `a start whose process ends at once is a failure in the answer`() async throws {
        let rig = try Rig()
        try rig.leave("web")
        try await rig.start()
        rig.systemd.script = { call in
            guard call.member == "StartUnit" else { return nil }
            rig.systemd.afterwards {
                var failed = FakeSystemd.Unit.running(pid: 9)
                    .ended("failed", "failed", code: 1, status: 200, result: "exit-code")
                failed.statusText = "launch: directory 2 (No such file or directory): /home/user"
                rig.systemd.report("web", failed)
                rig.systemd.endJob("web", "failed")
            }
            return nil
        }
        let service = try await rig.manager.start("web")
        #expect(service.status == .failed)
        #expect(
            service.message == "working directory '/home/user' does not exist: create it or change cwd (exit code 200)"
        )
    }

    @Test @EventLoopActor func `a service that systemctl starts is running and no longer meant to be stopped`()
        async throws
    {
        let rig = try Rig()
        try rig.leave("web") { $0.isToRun = false }
        try await rig.start()
        #expect(rig.status("web") == .stopped)
        rig.systemd.report("web", .running(pid: 5))
        #expect(try await eventually { rig.status("web") == .running })
        rig.systemd.report(
            "web",
            .running(pid: 5).ended("failed", "failed", code: 1, status: 3, result: "exit-code")
        )
        #expect(try await eventually { rig.status("web") == .failed })
    }

    @Test @EventLoopActor func `calls for one service are carried out one after another`() async throws {
        let rig = try await Rig.serving()
        let stop = Outcome { () throws(ControlError) in try await rig.manager.stop("web") }
        let start = Outcome { () throws(ControlError) in try await rig.manager.start("web") }
        let delete = Outcome { () throws(ControlError) in
            try await rig.manager.delete("web", by: Self.requester)
        }
        let late = Outcome { () throws(ControlError) in try await rig.manager.start("web") }
        #expect(try await stop.value().status == .stopped)
        #expect(try await start.value().status == .running)
        #expect(try await delete.value().description == "web")
        #expect(try await late.error() == .serviceNotFound)
    }

    @Test @EventLoopActor func `calls for different services do not wait for each other`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        let stop = Outcome { () throws(ControlError) in try await rig.manager.stop("web") }
        #expect(try await eventually { !rig.systemd.calls(of: "StopUnit").isEmpty })
        #expect(try await rig.manager.create(try Rig.spec("other")).status == .starting)
        #expect(!stop.hasEnded)
        rig.systemd.report("web", .running(pid: 1).ended("inactive", "dead", code: 1, status: 0, result: "success"))
        rig.systemd.endJob("web", job: 2)
        #expect(try await stop.value().status == .stopped)
    }

    @Test @EventLoopActor func `who does not exist is not found`() async throws {
        let rig = try Rig()
        try await rig.start()
        #expect(throws: ControlError.serviceNotFound) { try rig.manager.service("web") }
        await #expect(throws: ControlError.serviceNotFound) { try await rig.manager.start("web") }
        await #expect(throws: ControlError.serviceNotFound) { try await rig.manager.stop("No Name") }
        await #expect(throws: ControlError.serviceNotFound) { try await rig.manager.restart("") }
        await #expect(throws: ControlError.serviceNotFound) {
            try await rig.manager.delete("web", by: Self.requester)
        }
    }

    // MARK: Delete

    @Test @EventLoopActor func `a deletion stops the service and leaves its audit record`() async throws {
        let rig = try Rig()
        try await rig.start()
        rig.systemd.obey()
        _ = try await rig.manager.create(try Rig.spec("web") { $0["env"] = ["A": "b"] })
        #expect(try await eventually { rig.status("web") == .running })
        let name = try await rig.manager.delete("web", by: Self.requester)
        #expect(name.description == "web")
        #expect(rig.systemd.calls(of: "StopUnit") == ["StopUnit miosa-service-web.service"])
        #expect(rig.files("web").isEmpty)
        #expect(rig.manager.list().isEmpty)
        let removed = try await rig.manager.listRemoved()
        #expect(removed.map(\.record.spec.name.description) == ["web"])
        #expect(removed.first?.removedBy == Self.requester)
        #expect(removed.first?.record.spec.environment.isEmpty == true)
        #expect(try await rig.manager.create(try Rig.spec("web")).status != .failed)
    }

    @Test @EventLoopActor func `a deletion of what does not run needs no stop`() async throws {
        let rig = try Rig()
        try rig.leave("web")
        try await rig.start()
        _ = try await rig.manager.delete("web", by: Self.requester)
        #expect(rig.files("web").isEmpty)
        #expect(rig.systemd.calls(of: "Reload").isEmpty)
    }

    // MARK: Interruptions

    @Test @EventLoopActor func `an interrupted start is finished`() async throws {
        let rig = try Rig()
        try rig.leave("web") { $0.phase = .starting }
        rig.systemd.obey()
        try await rig.start()
        #expect(try await eventually { rig.status("web") == .running })
        #expect(rig.systemd.calls(of: "StartUnit") == ["StartUnit miosa-service-web.service"])
        #expect(rig.files("web") == ["unit", "link", "record"])
        #expect(try await eventually { (try? rig.record("web"))??.phase == .established })
        #expect(rig.notices.all == ["information: web: start: reached on another attempt"])
    }

    @Test @EventLoopActor func `a start that systemd has carried out is not made again`() async throws {
        let rig = try Rig()
        try rig.leave("web") { $0.phase = .starting }
        rig.systemd.units[FakeSystemd.unit("web")] = .running(pid: 5, startedAt: 2_000_000)
        try await rig.start()
        #expect(try await eventually { (try? rig.record("web"))??.phase == .established })
        #expect(rig.systemd.calls(of: "StartUnit", "StopUnit", "RestartUnit").isEmpty)
        #expect(rig.status("web") == .running)
    }

    @Test @EventLoopActor func `an interrupted stop is finished`() async throws {
        let rig = try Rig()
        try rig.leave("web") { record in
            record.phase = .stopping
            record.isToRun = false
        }
        rig.systemd.units[FakeSystemd.unit("web")] = .running(pid: 5)
        rig.systemd.obey()
        try await rig.start()
        #expect(try await eventually { rig.status("web") == .stopped })
        #expect(rig.systemd.calls(of: "StopUnit") == ["StopUnit miosa-service-web.service"])
        #expect(try await eventually { (try? rig.record("web"))??.phase == .established })
    }

    @Test(arguments: [true, false]) @EventLoopActor
    func `an interrupted deletion is finished`(isRunning: Bool) async throws {
        let rig = try Rig()
        try rig.leave("web") { record in
            record.phase = .deleting
            record.isToRun = false
            record.deletedBy = Requester(uid: 7, requestID: "first")
        }
        if isRunning { rig.systemd.units[FakeSystemd.unit("web")] = .running(pid: 5) }
        rig.systemd.obey()
        try await rig.start()
        #expect(try await eventually { rig.files("web").isEmpty && rig.manager.services.isEmpty })
        #expect(rig.systemd.calls(of: "StartUnit").isEmpty)
        #expect(try await rig.manager.listRemoved().map(\.removedBy) == [Requester(uid: 7, requestID: "first")])
    }

    @Test @EventLoopActor func `an interruption is finished when systemd comes back`() async throws {
        let rig = try Rig()
        try rig.leave("web") { $0.phase = .starting }
        var isLost = false
        rig.systemd.script = { call in
            guard call.member == "StartUnit", !isLost else { return nil }
            isLost = true
            rig.systemd.afterwards { rig.systemd.disconnect() }
            return .silence
        }
        try await rig.start()
        #expect(try await eventually { rig.systemd.calls(of: "StartUnit").count == 2 })
    }

    // MARK: Jobs

    @Test @EventLoopActor func `a job whose end is not told ends with the unit's word that it has none`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.manager.create(try Rig.spec("web"))
        let unit = FakeSystemd.Unit.running(pid: 7).ended("failed", "failed", code: 1, status: 3, result: "exit-code")
        rig.systemd.report("web", unit)
        // It is still queued: systemd may have more to do for the start.
        for _ in 0..<10 { try await turnLoop() }
        #expect(rig.status("web") == .starting)
        rig.systemd.loseJob("web")
        rig.systemd.report("web", unit)
        #expect(try await eventually { rig.status("web") == .failed })
    }

    @Test @EventLoopActor func `a request that waits for such a job is answered`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        let name = try #require(ServiceName("web"))
        let outcome = Outcome { () throws(ControlError) in try await rig.manager.restart("web") }
        #expect(try await eventually { rig.systemd.calls(of: "RestartUnit").count == 1 })
        rig.systemd.loseJob("web")
        rig.systemd.report("web", .running(pid: 101, startedAt: 101_000_000_000))
        #expect(try await outcome.value().state.mainPID == 101)
        #expect(rig.manager.services[name]?.snapshot.status == .running)
    }

    @Test @EventLoopActor func `a start that outlasts the patience of who asked counts when it ends`() async throws {
        let rig = try Rig(jobTimeout: .milliseconds(1))
        try await rig.start()
        _ = try await rig.manager.create(try Rig.spec("web"))
        rig.systemd.endJob("web", "canceled")
        #expect(try await eventually { rig.status("web") == .stopped })
        let outcome = Outcome { () throws(ControlError) in try await rig.manager.start("web") }
        #expect(try await outcome.error() == .systemdTimeout("the job did not end within 0.001 seconds"))
        // systemd has not begun.
        #expect(rig.status("web") == .starting)
        rig.systemd.endJob("web", "canceled")
        #expect(try await eventually { rig.status("web") == .stopped })
    }

    @Test(arguments: [true, false]) @EventLoopActor
    func `a start that is queued when the connection is lost is one still only while its job is`(
        isQueued: Bool
    ) async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.manager.create(try Rig.spec("web"))
        rig.systemd.takesConnections = false
        rig.systemd.disconnect()
        #expect(try await eventually { !rig.manager.isReady })
        if isQueued {
            rig.systemd.report("web", FakeSystemd.Unit())
        } else {
            rig.systemd.loseJob("web")
        }
        rig.systemd.takesConnections = true
        try await rig.untilReady()
        #expect(try await eventually { rig.status("web") == (isQueued ? .starting : .stopped) })
        rig.systemd.endJob("web", "canceled")
        #expect(try await eventually { rig.status("web") == .stopped })
    }

    // MARK: Outages

    @Test @EventLoopActor func `a systemd that does not answer is an outage for who asks`() async throws {
        let rig = try Rig()
        try await rig.start()
        var pings = 0
        rig.systemd.script = { call in
            guard call.member == "Ping" else { return nil }
            pings += 1
            return .silence
        }
        // It is not asked anew for everybody who wants to know, until the answer is a second old. The first answer takes
        // two seconds; an attempt that was held up for longer shows nothing.
        for attempt in 1... {
            let begin = MonotonicClock.now()
            pings = 0
            let outages = [await rig.manager.readiness.outage, await rig.manager.readiness.outage]
            #expect(outages == ["it does not answer", "it does not answer"])
            if MonotonicClock.now().duration(since: begin) < .seconds(3) { break }
            try #require(attempt < 20)
            await Timer.wait(.seconds(1))
        }
        #expect(pings == 1)
        rig.systemd.script = { _ in nil }
        for _ in 0..<20 where await rig.manager.readiness.outage != nil { await Timer.wait(.seconds(1)) }
        #expect(await rig.manager.readiness.outage == nil)
    }

    @Test @EventLoopActor func `a lost connection is an outage until the states are read again`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web", pid: 1)
        rig.systemd.takesConnections = false
        rig.systemd.disconnect()
        #expect(try await eventually { !rig.manager.isReady })
        #expect(rig.manager.outage == "the connection to systemd is lost")
        #expect(rig.notices.all == ["warning: the connection to systemd is lost; connecting again"])
        // While nobody was looking.
        rig.systemd.units[FakeSystemd.unit("web")] = .running(pid: 2, startedAt: 5_000_000_000_000)
        rig.systemd.takesConnections = true
        try await rig.untilReady()
        #expect(try rig.manager.service("web").state.mainPID == 2)
        // Signals come again.
        rig.systemd.report("web", .running(pid: 3, startedAt: 6_000_000_000_000))
        #expect(try await eventually { rig.manager.services.values.first?.state.mainPID == 3 })
    }

    @Test @EventLoopActor func `a unit that is gone when systemd comes back is stopped`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        rig.systemd.takesConnections = false
        rig.systemd.disconnect()
        rig.systemd.units = [:]
        #expect(try await eventually { !rig.manager.isReady })
        rig.systemd.takesConnections = true
        try await rig.untilReady()
        #expect(rig.status("web") == .stopped)
    }

    @Test @EventLoopActor func `a stop whose job is lost with the connection goes on`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        let stop = Outcome { () throws(ControlError) in try await rig.manager.stop("web") }
        #expect(try await eventually { !rig.systemd.calls(of: "StopUnit").isEmpty })
        try await turnLoop()
        rig.systemd.obey()
        rig.systemd.disconnect()
        #expect(try await stop.value().status == .stopped)
        #expect(try rig.record("web")?.isToRun == false)
        #expect(rig.files("web") == ["unit", "record"])
        #expect(rig.systemd.calls(of: "StopUnit").count == 2)
    }

    @Test @EventLoopActor func `a change that comes while the states are read is not lost`() async throws {
        let rig = try Rig()
        try rig.leave("web")
        rig.systemd.units[FakeSystemd.unit("web")] = .running(pid: 1)
        rig.systemd.script = { call in
            guard call.member == "GetAll", rig.systemd.units[FakeSystemd.unit("web")]?.pid == 1 else { return nil }
            // Behind the reply, which still has the old process.
            rig.systemd.afterwards { rig.systemd.report("web", .running(pid: 2)) }
            return nil
        }
        try await rig.start()
        #expect(try await eventually { rig.manager.services.values.first?.state.mainPID == 2 })
    }
}
