import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

@Suite(.onEventLoop, .serialized, .hangLimit)
struct MeasurementsTests {
    @EventLoopActor private func measurements(_ rig: Rig, of name: String) -> ServiceMeasurements? {
        rig.manager.measurements().services.first { $0.name.description == name }
    }

    @Test @EventLoopActor func `the end of each run is counted once`() async throws {
        let rig = try Rig()
        try await rig.start()
        let running = { (moment: UInt64) in FakeSystemd.Unit.running(pid: 7, startedAt: moment * 1_000_000_000) }
        _ = try await rig.manager.create(try Rig.spec("web"))
        rig.systemd.report("web", running(1))
        rig.systemd.endJob("web")
        rig.systemd.report("web", running(1).ended("failed", "failed", code: 1, status: 3, result: "exit-code"))
        // The same end again, now on the way to the next start.
        rig.systemd.report(
            "web",
            running(1).ended("activating", "auto-restart", code: 1, status: 3, result: "exit-code")
        )
        rig.systemd.report("web", running(2))
        rig.systemd.report("web", running(2).ended("failed", "failed", code: 1, status: 3, result: "exit-code"))
        rig.systemd.report("web", running(3))
        rig.systemd.report("web", running(3).ended("failed", "failed", code: 2, status: 9, result: "signal"))
        #expect(
            try await eventually { self.measurements(rig, of: "web")?.exits == [.exited(3): 2, .killed(signal: 9): 1] }
        )
        #expect(try await eventually { self.measurements(rig, of: "web")?.status == .failed })
        #expect(measurements(rig, of: "web")?.usage == ResourceUsage())
    }

    @Test @EventLoopActor func `an end that happened while no agent ran counts as one that this one learned of`()
        async throws
    {
        let rig = try Rig()
        let earlier = FakeSystemd.Unit.running(pid: 7, startedAt: 1_000_000_000)
        let ended = earlier.ended("failed", "failed", code: 1, status: 3, result: "exit-code")
        try rig.leave("known") { record in
            record.run = ServiceRun(
                startedAt: Timestamp(systemd: earlier.startedAt),
                exitedAt: Timestamp(systemd: ended.exitedAt),
                ending: .exited(3),
                result: "exit-code",
                hasEnded: true
            )
        }
        try rig.leave("missed") { $0.run = Rig.running(since: Timestamp(systemd: earlier.startedAt)) }
        rig.systemd.units[FakeSystemd.unit("known")] = ended
        rig.systemd.units[FakeSystemd.unit("missed")] = ended
        try await rig.start()
        #expect(measurements(rig, of: "known")?.exits == [:])
        #expect(measurements(rig, of: "missed")?.exits == [.exited(3): 1])
    }

    @Test @EventLoopActor func `a service that is deleted takes its counts with it`() async throws {
        let rig = try await Rig.serving()
        _ = try await rig.manager.restart("web")
        _ = try await rig.manager.stop("web")
        #expect(measurements(rig, of: "web")?.exits == [.killed(signal: 15): 2])
        _ = try await rig.manager.delete("web", by: Requester(uid: 0, requestID: "r"))
        #expect(rig.manager.measurements().services.isEmpty)
        _ = try await rig.manager.create(try Rig.spec("web"))
        #expect(measurements(rig, of: "web")?.exits == [:])
    }

    @Test @EventLoopActor func `systemd's calls and reloads are counted`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        let measurements = rig.manager.measurements()
        let calls = measurements.systemdCalls.mapValues { $0.cumulativeCounts.last }
        #expect(calls["StartUnit"] == 1)
        #expect(calls["ListUnitsByPatterns"] == 1)
        #expect(try #require(calls["Ping"]) ?? 0 >= 1)
        #expect(calls["StopUnit"] == nil)
        #expect(measurements.reloads == 0)
        #expect(measurements.isReady)
        // A unit of which systemd holds an older copy.
        rig.systemd.units[FakeSystemd.unit("web")]?.isStale = true
        rig.systemd.obey()
        _ = try await rig.manager.stop("web")
        rig.systemd.units[FakeSystemd.unit("web")] = FakeSystemd.Unit(isStale: true)
        _ = try await rig.manager.start("web")
        #expect(rig.manager.measurements().reloads == 1)
        #expect(rig.manager.measurements().systemdCalls["Reload"]?.cumulativeCounts.last == 1)
    }

    @Test @EventLoopActor func `without systemd no status is known`() async throws {
        let rig = try Rig()
        try rig.leave("web") { $0.run.restarts = 3 }
        #expect(!rig.manager.measurements().isReady)
        try rig.manager.start()
        #expect(measurements(rig, of: "web")?.status == nil)
        #expect(measurements(rig, of: "web")?.restarts == 3)
        try await rig.untilReady()
        #expect(measurements(rig, of: "web")?.status == .stopped)
    }
}
