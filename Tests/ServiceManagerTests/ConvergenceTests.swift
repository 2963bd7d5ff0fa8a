import Foundation
import JSON
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

/// What was asked for is reached, whatever fails on the way.
@Suite(.onEventLoop, .serialized, .hangLimit)
struct ConvergenceTests {
    private static let requester = Requester(uid: 0, requestID: "request")

    /// Has systemd take jobs and not end them until `resume` is called.
    @EventLoopActor
    private func hang(_ rig: Rig) -> @EventLoopActor () -> Void {
        rig.systemd.script = { _ in nil }
        return { rig.systemd.obey() }
    }

    private func isTimeout(_ error: ControlError?) -> Bool {
        guard case .systemdTimeout = error else { return false }
        return true
    }

    @Test @EventLoopActor func `a stop that takes too long is pending and done in the end`() async throws {
        let rig = try Rig(jobTimeout: .milliseconds(1))
        try await rig.start()
        _ = try await rig.create("web")
        let resume = hang(rig)
        let outcome = Outcome { () throws(ControlError) in try await rig.manager.stop("web") }
        #expect(isTimeout(try await outcome.error()))
        let service = try rig.manager.service("web")
        #expect(service.status == .running)
        #expect(service.pending?.operation == .stop)
        // systemd answers, and has not ended the job.
        #expect(service.pending?.reason == .waiting)
        #expect(try rig.record("web")?.phase == .stopping)
        #expect(try rig.record("web")?.isToRun == false)
        resume()
        #expect(try await eventually { rig.status("web") == .stopped })
        #expect(try await eventually { rig.manager.services.values.first?.remarks.pending == nil })
        #expect(try await eventually { (try? rig.record("web"))??.phase == .established })
    }

    @Test @EventLoopActor func `a deletion that takes too long is done in the end`() async throws {
        let rig = try Rig(jobTimeout: .milliseconds(1))
        try await rig.start()
        _ = try await rig.create("web")
        let resume = hang(rig)
        let outcome = Outcome { () throws(ControlError) in
            try await rig.manager.delete("web", by: Self.requester)
        }
        #expect(isTimeout(try await outcome.error()))
        #expect(try rig.manager.service("web").pending?.operation == .delete)
        resume()
        #expect(try await eventually { rig.manager.services.isEmpty })
        #expect(rig.files("web").isEmpty)
        #expect(try await rig.manager.listRemoved().map(\.removedBy) == [Self.requester])
    }

    @Test @EventLoopActor func `a change that takes too long runs the new spec in the end`() async throws {
        let rig = try Rig(jobTimeout: .milliseconds(1))
        try await rig.start()
        let before = try await rig.create("web")
        let resume = hang(rig)
        let spec = try Rig.spec("web") { $0["command"] = "other" }
        let outcome = Outcome { () throws(ControlError) in try await rig.manager.replace(spec).service }
        #expect(isTimeout(try await outcome.error()))
        #expect(try rig.manager.service("web").pending?.operation == .start)
        resume()
        #expect(
            try await eventually {
                rig.status("web") == .running
                    && rig.manager.services.values.first?.state.mainPID != before.state.mainPID
                    && rig.manager.services.values.first?.remarks.pending == nil
            }
        )
        #expect(rig.systemd.calls(of: "StartUnit").count == 2)
    }

    @Test @EventLoopActor func `a request has its turn after what an interrupted agent had begun`() async throws {
        let rig = try Rig()
        try rig.leave("web") { $0.phase = .starting }
        rig.systemd.obey()
        try rig.manager.start()
        await rig.manager.connectivity.wait(atMost: patience)
        #expect(try await rig.manager.stop("web").status == .stopped)
        #expect(rig.systemd.calls(of: "StartUnit", "StopUnit").map { $0.prefix(9) } == ["StartUnit", "StopUnit "])
        for _ in 0..<10 { try await turnLoop() }
        #expect(rig.status("web") == .stopped)
    }

    @Test @EventLoopActor func `what an interrupted agent had begun is pending until it is done`() async throws {
        let rig = try Rig()
        try rig.leave("web") { record in
            record.phase = .stopping
            record.isToRun = false
        }
        rig.systemd.units[FakeSystemd.unit("web")] = .running(pid: 5)
        try await rig.start()
        #expect(try rig.manager.service("web").pending?.reason == .waiting)
        #expect(try rig.manager.service("web").pending?.operation == .stop)
    }

    // MARK: Refusals

    @Test(arguments: ["stop", "delete", "replace"]) @EventLoopActor
    func `a stop that systemd refuses changes nothing`(verb: String) async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        rig.manager.finish()
        let before = try #require(try rig.record("web"))
        rig.systemd.script = { call in
            guard call.member == "StopUnit" else { return nil }
            return .error(name: "org.freedesktop.systemd1.OnlyByDependency", message: "refused")
        }
        await #expect(throws: ControlError.systemdRefused("refused")) {
            switch verb {
            case "stop": _ = try await rig.manager.stop("web")
            case "delete": _ = try await rig.manager.delete("web", by: Self.requester)
            default: _ = try await rig.manager.replace(try Rig.spec("web") { $0["command"] = "other" })
            }
        }
        #expect(rig.status("web") == .running)
        #expect(try rig.manager.service("web").pending == nil)
        #expect(rig.files("web") == ["unit", "link", "record"])
        let after = try #require(try rig.record("web"))
        #expect(after.spec == before.spec)
        #expect(after.isToRun && after.phase == .established)
        #expect(try await rig.manager.listRemoved().isEmpty)
    }

    /// systemd from version 256 on ends the jobs of a frozen unit without doing them.
    @Test(arguments: ["stop", "restart", "replace", "delete"]) @EventLoopActor
    func `a frozen unit is thawed`(verb: String) async throws {
        let rig = try Rig()
        try await rig.start()
        let before = try await rig.create("web")
        rig.systemd.script = { call in
            switch call.member {
            case "StopUnit", "RestartUnit": rig.systemd.afterwards { rig.systemd.endJob("web", "frozen") }
            case "ThawUnit": rig.systemd.obey()
            default: break
            }
            return nil
        }
        switch verb {
        case "stop": #expect(try await rig.manager.stop("web").status == .stopped)
        case "restart":
            #expect(try await rig.manager.restart("web").state.mainPID != before.state.mainPID)
        case "replace":
            let service = try await rig.manager.replace(try Rig.spec("web") { $0["command"] = "other" }).service
            #expect(service.state.mainPID != before.state.mainPID)
        default:
            _ = try await rig.manager.delete("web", by: Self.requester)
            #expect(rig.manager.services.isEmpty)
        }
        #expect(rig.systemd.calls(of: "ThawUnit") == ["ThawUnit miosa-service-web.service"])
    }

    @Test(arguments: ["stop", "delete"]) @EventLoopActor
    func `a job that is ended and not done is told, and nothing is removed`(verb: String) async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        rig.systemd.script = { call in
            if call.member == "StopUnit" { rig.systemd.afterwards { rig.systemd.endJob("web", "skipped") } }
            return nil
        }
        let reason = "it ended the job with 'skipped', and the unit is active"
        await #expect(throws: ControlError.systemdRefused(reason)) {
            if verb == "stop" {
                _ = try await rig.manager.stop("web")
            } else {
                _ = try await rig.manager.delete("web", by: Self.requester)
            }
        }
        #expect(rig.status("web") == .running)
        #expect(rig.files("web") == ["unit", "link", "record"])
    }

    @Test @EventLoopActor func `a stop that somebody else's start cancels is superseded`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        rig.systemd.script = { call in
            if call.member == "StopUnit" { rig.systemd.afterwards { rig.systemd.endJob("web", "canceled") } }
            return nil
        }
        await #expect(throws: ControlError.superseded) { try await rig.manager.stop("web") }
        #expect(rig.status("web") == .running)
        #expect(try rig.record("web")?.isToRun == true)
        #expect(rig.files("web") == ["unit", "link", "record"])
    }

    /// What follows the first half of a restart by another client.
    enum SecondHalf: CaseIterable {
        case start, cancellation, stop
    }

    @Test(arguments: SecondHalf.allCases, ["no", "always"]) @EventLoopActor
    func `between the halves of another client's restart the service is not stopped`(
        _ half: SecondHalf,
        restart: String
    ) async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.manager.create(try Rig.spec("web") { $0["restart"] = .string(restart) })
        let running = FakeSystemd.Unit.running(pid: 100)
        rig.systemd.report("web", running)
        rig.systemd.endJob("web")
        #expect(try await eventually { rig.status("web") == .running })
        rig.systemd.beginJob("web")
        rig.systemd.report("web", running.ended("inactive", "dead", code: 2, status: 15, result: "success"))
        #expect(try await eventually { rig.manager.services.values.first?.heldBack != nil })
        // Time for a ping and its answer, which would end the wait for an automatic restart.
        try await dispatchTimers(after: .milliseconds(20))
        #expect(rig.status("web")?.isUp == true)
        switch half {
        case .start:
            rig.systemd.report("web", .running(pid: 101))
            rig.systemd.endJob("web")
            #expect(try await eventually { rig.manager.services.values.first?.state.mainPID == 101 })
        case .cancellation:
            rig.systemd.endJob("web", "canceled")
            rig.systemd.report("web", running.ended("inactive", "dead", code: 2, status: 15, result: "success"))
            #expect(try await eventually { rig.status("web") == .stopped })
        case .stop:
            rig.systemd.obey()
            #expect(try await rig.manager.stop("web").status == .stopped)
            #expect(rig.systemd.calls(of: "StopUnit").count == 1)
        }
    }

    @Test @EventLoopActor func `a stop that another client's restart cancels between its halves is superseded`()
        async throws
    {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        let running = FakeSystemd.Unit.running(pid: 100)
        rig.systemd.script = { call in
            if call.member == "StopUnit" {
                rig.systemd.afterwards {
                    rig.systemd.endJob("web", "canceled")
                    rig.systemd.beginJob("web")
                    rig.systemd.report("web", running.ended("inactive", "dead", code: 2, status: 15, result: "success"))
                }
            }
            return nil
        }
        await #expect(throws: ControlError.superseded) { try await rig.manager.stop("web") }
        rig.systemd.report("web", .running(pid: 101))
        rig.systemd.endJob("web")
        #expect(try await eventually { rig.status("web") == .running })
        #expect(try rig.record("web")?.isToRun == true)
    }

    @Test @EventLoopActor func `a start that systemd refuses after the stop is made again with the old spec`()
        async throws
    {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        rig.systemd.obey()
        let usual = rig.systemd.script
        var refusals = 2
        rig.systemd.script = { call in
            guard call.member == "StartUnit", refusals > 0 else { return usual(call) }
            refusals -= 1
            return .error(name: "org.freedesktop.systemd1.BadUnitSetting", message: "refused")
        }
        await #expect(throws: ControlError.systemdRefused("refused")) {
            try await rig.manager.replace(try Rig.spec("web") { $0["command"] = "other" })
        }
        let service = try rig.manager.service("web")
        #expect(service.record.spec.command == "server")
        #expect(service.record.phase == .starting)
        #expect(try await eventually { rig.status("web") == .running })
        #expect(try await eventually { rig.manager.services.values.first?.record.phase == .established })
    }

    @Test @EventLoopActor
    func `a request after one that was not answered begins with what systemd has done of that`() async throws {
        let rig = try Rig(jobTimeout: .milliseconds(1))
        try await rig.start()
        _ = try await rig.create("web")
        let resume = hang(rig)
        let first = try Rig.spec("web") { $0["command"] = "first" }
        let outcome = Outcome { () throws(ControlError) in try await rig.manager.replace(first).service }
        #expect(isTimeout(try await outcome.error()))
        // Still hanging: nothing is changed.
        resume()
        let second = try Rig.spec("web") { $0["command"] = "second" }
        while true {
            do throws(ControlError) {
                _ = try await rig.manager.replace(second)
                break
            } catch .systemdTimeout {
                continue
            } catch .systemdUnavailable {
                // The start of the first is still under way.
                continue
            }
        }
        #expect(
            try await eventually {
                rig.status("web") == .running && rig.manager.services.values.first?.record.phase == .established
            }
        )
        #expect(rig.manager.services.values.first?.record.spec.command == "second")
        // The run is one that began with the last spec.
        #expect(rig.systemd.calls(of: "StartUnit").count >= 2)
    }

    @Test @EventLoopActor func `a change during the start of a new service waits and runs the new spec`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.manager.create(try Rig.spec("web"))
        let changed = try Rig.spec("web") { $0["command"] = "other" }
        let outcome = Outcome { () throws(ControlError) in try await rig.manager.replace(changed).service }
        try await dispatchTimers()
        #expect(!outcome.hasEnded)
        rig.systemd.report("web", .running(pid: 7, startedAt: 7_000_000_000))
        rig.systemd.obey()
        rig.systemd.endJob("web")
        #expect(try await outcome.value().state.mainPID != 7)
        #expect(rig.systemd.calls(of: "StopUnit").count == 1)
    }

    @Test @EventLoopActor func `a change of what was started by hand after a stop runs the new spec`() async throws {
        let rig = try await Rig.serving()
        _ = try await rig.manager.stop("web")
        rig.systemd.report("web", .running(pid: 7, startedAt: 7_000_000_000))
        #expect(try await eventually { rig.status("web") == .running })
        let (service, _) = try await rig.manager.replace(try Rig.spec("web") { $0["command"] = "other" })
        #expect(service.status == .running && service.state.mainPID != 7)
        #expect(service.drift == .started)
    }

    @Test @EventLoopActor func `the record of a moment before does not follow a changed one to the disk`() async throws
    {
        let rig = try await Rig.serving()
        _ = try await rig.manager.stop("web")
        rig.manager.finish()
        // The change waits behind these for longer than a record that has changed by itself waits for operations: 1 s.
        var others = FileChanges()
        for number in 0..<150_000 { others.write("\(number % 2)", in: rig.directory.path, [7], mode: 0o600) }
        let begin = MonotonicClock.now()
        let work = rig.manager.desired.disk.begin(others)
        let changed = try Rig.spec("web") { $0["command"] = "other" }
        let outcome = Outcome { () throws(ControlError) in try await rig.manager.replace(changed).service }
        try await dispatchTimers()
        rig.manager.desired.save(try #require(ServiceName("web")))
        _ = await work.wait()
        #expect(MonotonicClock.now().duration(since: begin) > .milliseconds(1100))
        _ = try await outcome.value()
        #expect(try await eventually { !rig.manager.desired.disk.isBusy })
        #expect(try rig.record("web")?.spec.command == "other")
    }

    @Test @EventLoopActor
    func `a run that is started by hand while the change of a stopped service is written is replaced`() async throws {
        let rig = try await Rig.serving()
        _ = try await rig.manager.stop("web")
        rig.manager.finish()
        // What the change is written behind.
        var others = FileChanges()
        for number in 0..<5000 { others.write("\(number % 2)", in: rig.directory.path, [7], mode: 0o600) }
        let work = rig.manager.desired.disk.begin(others)
        let changed = try Rig.spec("web") { $0["command"] = "other" }
        let outcome = Outcome { () throws(ControlError) in try await rig.manager.replace(changed).service }
        try await dispatchTimers()
        #expect(work.result == nil)
        // From the former file.
        rig.systemd.report("web", .running(pid: 7, startedAt: 7_000_000_000))
        let service = try await outcome.value()
        #expect(service.status == .running && service.state.mainPID != 7)
        #expect(service.record.phase == .established)
        #expect(rig.systemd.calls(of: "StopUnit").count == 2)
    }

    @Test @EventLoopActor func `a run that begins while a change is written is replaced, too`() async throws {
        let rig = try await Rig.serving()
        // What the change is written behind.
        var others = FileChanges()
        for number in 0..<5000 { others.write("\(number % 2)", in: rig.directory.path, [7], mode: 0o600) }
        let work = rig.manager.desired.disk.begin(others)
        let changed = try Rig.spec("web") { $0["command"] = "other" }
        let outcome = Outcome { () throws(ControlError) in try await rig.manager.replace(changed).service }
        try await dispatchTimers()
        #expect(work.result == nil)
        // It has crashed, and systemd has started it again from the former file.
        rig.systemd.report("web", .running(pid: 7, startedAt: 7_000_000_000_000))
        #expect(try await outcome.value().state.mainPID != 7)
        #expect(rig.systemd.calls(of: "StopUnit").count == 1)
    }

    @Test @EventLoopActor func `the dead state in the middle of a restart is never shown`() async throws {
        let rig = try await Rig.serving()
        let running = try #require(rig.systemd.units[FakeSystemd.unit("web")])
        let before = rig.manager.announcements.log.nextSequence
        rig.systemd.script = { call in
            guard call.member == "RestartUnit" else { return nil }
            rig.systemd.afterwards {
                rig.systemd.report("web", running.ended("inactive", "dead", code: 2, status: 15, result: "success"))
            }
            return nil
        }
        let outcome = Outcome { () throws(ControlError) in try await rig.manager.restart("web") }
        #expect(try await eventually { rig.manager.services.values.first?.state.activeState == .inactive })
        #expect(rig.status("web") == .starting)
        rig.systemd.report("web", .running(pid: 7, startedAt: 7_000_000_000_000))
        rig.systemd.endJob("web")
        #expect(try await outcome.value().status == .running)
        let told = rig.manager.announcements.log.events(from: before, bytes: 1 << 20) ?? []
        #expect(told.allSatisfy { [.running, .starting].contains($0.service.status) })
    }

    // MARK: A unit without a record

    @Test @EventLoopActor func `a unit that runs without a record is stopped before the service is created`()
        async throws
    {
        let rig = try Rig()
        rig.systemd.units[FakeSystemd.unit("web")] = .running(pid: 5)
        try await rig.start()
        rig.systemd.obey()
        _ = try await rig.manager.create(try Rig.spec("web"))
        #expect(try await eventually { rig.status("web") == .running })
        #expect(rig.manager.services.values.first?.state.mainPID != 5)
        #expect(rig.systemd.calls(of: "StopUnit").count == 1)
    }

    // MARK: Storage

    @Test(arguments: ["stop", "delete", "start"]) @EventLoopActor
    func `what cannot be written does not keep a service from stopping or starting`(verb: String) async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        rig.systemd.obey()
        if verb == "start" { _ = try await rig.manager.stop("web") }
        rig.manager.finish()
        // The records cannot be written any more, nor removed.
        let directory = rig.layout.recordDirectory
        try FileManager.default.moveItem(atPath: directory, toPath: directory + ".away")
        switch verb {
        case "stop":
            let service = try await rig.manager.stop("web")
            #expect(service.status == .stopped)
            #expect(service.pending?.operation == .stop)
            #expect(service.pending?.reason == .diskFailed)
        case "start":
            let service = try await rig.manager.start("web")
            #expect(service.status == .running)
            #expect(service.pending?.operation == .start)
        default:
            await #expect(throws: ControlError.self) { try await rig.manager.delete("web", by: Self.requester) }
            #expect(rig.status("web") == .stopped)
            #expect(try rig.manager.service("web").pending?.operation == .delete)
        }
        try FileManager.default.moveItem(atPath: directory + ".away", toPath: directory)
        // Without anybody's help.
        if verb == "delete" {
            #expect(try await eventually { rig.manager.services.isEmpty })
            #expect(rig.files("web").isEmpty)
        } else {
            #expect(try await eventually { rig.manager.services.values.first?.remarks.pending == nil })
            #expect(try rig.record("web")?.isToRun == (verb == "start"))
        }
    }

    @Test @EventLoopActor func `files that could not be written are written by the next agent, and are no drift`()
        async throws
    {
        let rig = try await Rig.serving()
        _ = try await rig.manager.stop("web")
        // The link for boot cannot be made.
        let wants = rig.layout.unitDirectory + "/multi-user.target.wants"
        try FileManager.default.removeItem(atPath: wants)
        try Data().write(to: URL(filePath: wants))
        #expect(try await rig.manager.start("web").pending?.operation == .start)
        #expect(try await eventually { (try? rig.record("web"))??.lacksFiles == true })
        #expect(try rig.record("web")?.phase == .established)
        try FileManager.default.removeItem(atPath: wants)
        try rig.restart()
        try await rig.start()
        #expect(rig.files("web") == ["unit", "link", "record"])
        #expect(try rig.manager.service("web").drift == nil)
        // An act by hand after that is none of its business.
        #expect(try await eventually { (try? rig.record("web"))??.lacksFiles == false })
    }

    @Test @EventLoopActor func `a run that was started by hand and not reported yet does not pass for the new spec`()
        async throws
    {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        let ended = FakeSystemd.Unit.running(pid: 100, startedAt: 100_000_000_000)
            .ended("inactive", "dead", code: 1, status: 0, result: "success")
        rig.systemd.report("web", ended)
        #expect(try await eventually { rig.status("web") == .stopped })
        let spec = try Rig.spec("web") { $0["command"] = "other" }
        let put = Outcome { () throws(ControlError) in
            try await rig.manager.replace(spec).service
        }
        #expect(try await eventually { rig.systemd.calls(of: "StartUnit").count == 2 })
        // Somebody was faster: systemd has nothing to do.
        rig.systemd.report("web", .running(pid: 5, startedAt: 200_000_000_000))
        rig.systemd.endJob("web")
        #expect(try await eventually { !rig.systemd.calls(of: "StopUnit").isEmpty })
        rig.systemd.report("web", ended)
        rig.systemd.endJob("web")
        #expect(try await eventually { rig.systemd.calls(of: "StartUnit").count == 3 })
        #expect(!put.hasEnded)
        rig.systemd.report("web", .running(pid: 6, startedAt: UInt64(WallClock.now().microseconds)))
        rig.systemd.endJob("web")
        #expect(try await put.value().state.mainPID == 6)
    }

    @Test @EventLoopActor func `a stopped service whose spec was replaced lacks no files for the next agent`()
        async throws
    {
        let rig = try await Rig.serving()
        _ = try await rig.manager.stop("web")
        _ = try await rig.manager.replace(try Rig.spec("web") { $0["command"] = "other" })
        #expect(try await eventually { (try? rig.record("web"))??.lacksFiles == false })
    }
}
