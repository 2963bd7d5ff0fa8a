import Foundation
import JSON
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

/// Changes of a spec: what restarts, what does not, and what is outstanding then.
@Suite(.onEventLoop, .serialized, .hangLimit)
struct ChangeTests {
    private static let jobs = ["StartUnit", "StopUnit", "RestartUnit"]

    /// The running "web", after the calls that made it.
    @EventLoopActor private func serving(
        _ change: (inout SpecDraft) -> Void = { _ in }
    ) async throws -> (Rig, Service) {
        let rig = try Rig()
        try await rig.start()
        rig.systemd.obey()
        _ = try await rig.manager.create(try Rig.spec("web", change))
        #expect(try await eventually { rig.status("web") == .running })
        return (rig, try rig.manager.service("web"))
    }

    @EventLoopActor private func calls(_ rig: Rig, since count: Int, _ members: [String] = jobs) -> [String] {
        rig.systemd.calls.all.dropFirst(count).filter { call in members.contains { call.hasPrefix($0) } }
    }

    // MARK: Creating without a start

    @Test(arguments: [true, false])
    @EventLoopActor func `a service is created and not started`(isEnabled: Bool) async throws {
        let rig = try Rig()
        try await rig.start()
        rig.systemd.obey()
        let spec = try Rig.spec("web") { $0["enabled"] = .bool(isEnabled) }
        let service = try await rig.manager.create(spec, starts: false)
        #expect((service.status, service.message, service.subStatus) == (.stopped, nil, nil))
        #expect(service.pending == nil)
        #expect(rig.files("web") == (isEnabled ? ["unit", "link", "record"] : ["unit", "record"]))
        // Another spec does not start it either.
        _ = try await rig.manager.replace(try Rig.spec("web") { $0["command"] = "other" })
        #expect(calls(rig, since: 0).isEmpty)
        #expect(rig.status("web") == .stopped)
        // Nor does another agent.
        try rig.restart()
        try await rig.start()
        #expect(calls(rig, since: 0).isEmpty)
        #expect((rig.status("web"), try rig.manager.service("web").subStatus) == (.stopped, nil))
        #expect(try await rig.manager.start("web").status == .running)
        #expect(try rig.record("web")?.isUnstarted == false)
    }

    @Test @EventLoopActor func `a registered service that systemd has started is restarted by another spec`()
        async throws
    {
        let rig = try Rig()
        try await rig.start()
        rig.systemd.obey()
        _ = try await rig.manager.create(try Rig.spec("web"), starts: false)
        rig.systemd.report("web", .running(pid: 9))
        #expect(try await eventually { rig.status("web") == .running })
        rig.systemd.report("web", .running(pid: 9).ended("failed", "failed", code: 1, status: 3, result: "exit-code"))
        #expect(try await eventually { rig.status("web") == .failed })
        _ = try await rig.manager.replace(try Rig.spec("web") { $0["command"] = "other" })
        #expect(try await eventually { rig.status("web") == .running })
    }

    @Test @EventLoopActor func `limits that systemd does not apply are outstanding`() async throws {
        let (rig, _) = try await serving()
        let obeys = rig.systemd.script
        rig.systemd.script = { call in
            call.member == "SetUnitProperties"
                ? .error(name: "org.freedesktop.DBus.Error.Failed", message: "no") : obeys(call)
        }
        let service = try await rig.manager.replace(try Rig.spec("web") { $0["limits"] = ["tasks": 5] }).service
        #expect(service.pending?.reason == .restartNeeded)
        // What systemd may have written before is removed.
        #expect(rig.systemd.calls(of: "RevertUnitFiles", "Reload").count == 2)
    }

    @Test @EventLoopActor func `a running unit without a record is stopped by a creation without a start`()
        async throws
    {
        let rig = try Rig()
        rig.systemd.units[FakeSystemd.unit("web")] = .running(pid: 9)
        try await rig.start()
        rig.systemd.obey()
        #expect(try await rig.manager.create(try Rig.spec("web"), starts: false).status == .stopped)
        #expect(rig.systemd.calls(of: "StopUnit", "StartUnit") == ["StopUnit miosa-service-web.service"])
    }

    // MARK: Starting at boot

    @Test @EventLoopActor func `a service that is not enabled has no link, and runs`() async throws {
        let (rig, service) = try await serving { $0["enabled"] = false }
        #expect(rig.files("web") == ["unit", "record"])
        #expect((service.status, service.subStatus) == (.running, nil))
        let count = rig.systemd.calls.all.count
        let enabled = try await rig.manager.replace(try Rig.spec("web")).service
        #expect(rig.files("web") == ["unit", "link", "record"])
        #expect(enabled.state.mainPID == service.state.mainPID)
        _ = try await rig.manager.replace(try Rig.spec("web") { $0["enabled"] = false })
        #expect(rig.files("web") == ["unit", "record"])
        #expect(calls(rig, since: count).isEmpty)
        // A restart does not enable it.
        _ = try await rig.manager.restart("web")
        #expect(rig.files("web") == ["unit", "record"])
        #expect(try rig.manager.service("web").subStatus == nil)
    }

    @Test(arguments: [Rig.bootID, "another"])
    @EventLoopActor func `after a boot a service that is not enabled is stopped`(bootID: String) async throws {
        let rig = try Rig()
        try rig.leave("web") { record in
            if let spec = try? Rig.spec("web", { $0["enabled"] = false }) { record.spec = spec }
            record.run = Rig.running(since: Timestamp(microseconds: 1))
            record.run.bootID = bootID
        }
        try await rig.start()
        let service = try rig.manager.service("web")
        #expect(service.record.isToRun == (bootID == Rig.bootID))
        #expect(service.status == .stopped)
    }

    // MARK: Without a restart

    @Test(arguments: ["description", "labels", "port", "limits"])
    @EventLoopActor func `some fields change without a restart`(field: String) async throws {
        let (rig, before) = try await serving()
        let count = rig.systemd.calls.all.count
        let values: [String: JSONValue] = [
            "description": "the web", "labels": ["a": "b"], "port": 80, "limits": ["memory": "64M"],
        ]
        let service = try await rig.manager.replace(try Rig.spec("web") { $0[field] = values[field] }).service
        #expect(calls(rig, since: count).isEmpty)
        #expect(service.state.mainPID == before.state.mainPID)
        #expect((service.pending, service.subStatus) == (nil, nil))
        // systemd reads a unit file that has changed.
        let reload = ["description": ["Reload"], "limits": ["SetUnitProperties", "RevertUnitFiles", "Reload"]]
        let asked = calls(rig, since: count, ["SetUnitProperties", "RevertUnitFiles", "Reload"])
        if field == "limits" {
            #expect(asked.first == "SetUnitProperties miosa-service-web.service 1 [[MemoryMax [67108864]]]")
        }
        #expect(asked.map { String($0.prefix { $0 != " " }) } == reload[field] ?? [])
        #expect(try rig.record("web")?.spec == service.record.spec)
    }

    @Test @EventLoopActor func `a change without a restart is outstanding until the next start`() async throws {
        let (rig, before) = try await serving()
        let count = rig.systemd.calls.all.count
        let spec = try Rig.spec("web") { $0["command"] = "other" }
        let service = try await rig.manager.replace(spec, restarts: false).service
        #expect(service.pending?.reason == .restartNeeded)
        #expect(service.pending?.operation == .restart)
        #expect(service.state.mainPID == before.state.mainPID)
        #expect(calls(rig, since: count).isEmpty)
        #expect(calls(rig, since: count, ["Reload"]) == ["Reload"])
        #expect(try rig.record("web")?.outdatedRun == service.state.invocationID)
        let restarted = try await rig.manager.restart("web")
        #expect(restarted.pending == nil)
        #expect(restarted.record.spec.command == "other")
    }

    @Test @EventLoopActor func `a reload that fails is repeated`() async throws {
        let (rig, _) = try await serving()
        let obeys = rig.systemd.script
        rig.systemd.script = { call in
            call.member == "Reload" ? .error(name: "org.freedesktop.systemd1.Busy", message: "later") : obeys(call)
        }
        let count = rig.systemd.calls.all.count
        _ = try await rig.manager.replace(try Rig.spec("web") { $0["description"] = "a" })
        rig.systemd.script = obeys
        #expect(try await eventually { self.calls(rig, since: count, ["Reload"]).count == 2 })
    }

    @Test(arguments: ["/units.control", "/units"])
    @EventLoopActor func `properties that were set by hand are not overwritten`(folder: String) async throws {
        let (rig, before) = try await serving()
        let path = rig.directory.path + folder + "/\(FakeSystemd.unit("web")).d"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try "[Service]\nMemoryMax=1G\n".write(toFile: path + "/50-a.conf", atomically: true, encoding: .utf8)
        #expect(try await eventually { (try? rig.manager.service("web").dropIns.count) == 1 })
        let service = try await rig.manager.replace(try Rig.spec("web") { $0["limits"] = ["tasks": 5] }).service
        // Drop-ins of a person are neither removed nor hidden by systemd's own.
        #expect(rig.systemd.calls(of: "SetUnitProperties", "RevertUnitFiles").isEmpty)
        #expect(service.pending?.reason == .restartNeeded)
        #expect(service.state.mainPID == before.state.mainPID)
    }

    // MARK: Changes of the present spec

    @Test @EventLoopActor func `a change is made of what is there in its turn`() async throws {
        let (rig, _) = try await serving { $0["port"] = 80 }
        let first = Outcome { () throws(ControlError) in
            try await rig.manager.change("web", restarts: true) { spec in
                var draft = SpecDraft(spec)
                draft["description"] = "one"
                return try? draft.validated(defaults: SpecDraft.Defaults(user: "user"))
            }
        }
        let second = try await rig.manager.change("web", restarts: true) { spec in
            var draft = SpecDraft(spec)
            draft["labels"] = ["two": "2"]
            return try? draft.validated(defaults: SpecDraft.Defaults(user: "user"))
        }
        _ = try await first.value()
        let spec = try rig.manager.service("web").record.spec
        #expect(spec.labels == ["two": "2"])
        #expect(spec.port == 80)
        #expect(spec.differences(from: try Rig.spec("web")).map(\.key) == ["port", "description", "labels"])
        #expect(second != nil)
        #expect(try await rig.manager.change("web", restarts: true) { _ in nil } == nil)
        await #expect(throws: ControlError.serviceNotFound) {
            try await rig.manager.change("none", restarts: true) { $0 }
        }
    }

    // MARK: Signals

    @Test @EventLoopActor func `a signal goes to the main process`() async throws {
        let (rig, _) = try await serving { $0["reload_signal"] = "HUP" }
        _ = try await rig.manager.signal("web", 10)
        _ = try await rig.manager.signal("web", nil)
        let unit = FakeSystemd.unit("web")
        #expect(rig.systemd.calls(of: "KillUnit") == ["KillUnit \(unit) main 10", "KillUnit \(unit) main 1"])
        _ = try await rig.manager.stop("web")
        await #expect(throws: ControlError.serviceNotRunning) { try await rig.manager.signal("web", 1) }
        _ = try await rig.manager.replace(try Rig.spec("web"))
        await #expect(throws: ControlError.noReload) { try await rig.manager.signal("web", nil) }
    }
}
