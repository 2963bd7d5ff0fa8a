import JSON
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

/// Requests that wait for a state of a service.
@Suite(.onEventLoop, .serialized, .hangLimit)
struct StateWaitTests {
    private typealias Waited = (status: ServiceStatus, log: [String])

    @EventLoopActor
    private static func wait(_ rig: Rig, _ state: AwaitedState, within timeout: Duration = patience) -> Outcome<Waited>
    {
        Outcome { () throws(ControlError) in
            let (service, log) = try await rig.manager.wait(for: state, of: "web", within: timeout)
            return (service.status, log)
        }
    }

    private static func microseconds() -> UInt64 { UInt64(WallClock.now().microseconds) }

    @Test @EventLoopActor func `a service that runs is waited for`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.manager.create(try Rig.spec("web"))
        let running = Self.wait(rig, .running)
        let ready = Self.wait(rig, .ready)
        try await dispatchTimers()
        #expect(!running.hasEnded && !ready.hasEnded)
        // A process of an hour ago is old enough, once it is the command.
        rig.systemd.report("web", .running(pid: 1, startedAt: Self.microseconds() - 3_600_000_000))
        #expect(try await running.value().status == .running)
        #expect(try await ready.value().status == .running)
    }

    @Test @EventLoopActor func `without a port a process is ready at the age of one second`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.manager.create(try Rig.spec("web"))
        let startedAt = Self.microseconds()
        rig.systemd.report("web", .running(pid: 1, startedAt: startedAt))
        #expect(try await Self.wait(rig, .running).value().status == .running)
        #expect(try await Self.wait(rig, .ready).value().status == .running)
        #expect(Self.microseconds() - startedAt >= 1_000_000)
    }

    @Test(arguments: AwaitedState.allCases)
    @EventLoopActor func `an end ends every wait`(state: AwaitedState) async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.manager.create(try Rig.spec("web") { $0["restart"] = "no" })
        let wait = Self.wait(rig, state)
        let unit = FakeSystemd.Unit.running(pid: 1, startedAt: Self.microseconds())
        rig.systemd.report("web", unit.ended("failed", "failed", code: 1, status: 3, result: "exit-code"))
        rig.systemd.endJob("web")
        #expect(try await wait.value().status == .failed)
    }

    @Test @EventLoopActor func `a wait for the end goes on while the service runs`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        let wait = Self.wait(rig, .stopped)
        try await dispatchTimers()
        #expect(!wait.hasEnded)
        let stop = Outcome { () throws(ControlError) in try await rig.manager.stop("web") }
        #expect(try await eventually { !rig.systemd.calls(of: "StopUnit").isEmpty })
        #expect(!wait.hasEnded)
        rig.systemd.report("web", .running(pid: 100).ended("inactive", "dead", code: 2, status: 15, result: "success"))
        rig.systemd.endJob("web", job: 2)
        #expect(try await stop.value().status == .stopped)
        let (status, log) = try await wait.value()
        #expect(status == .stopped && log.isEmpty)
    }

    @Test(arguments: [AwaitedState.stopped, .ready])
    @EventLoopActor func `a wait has an end`(state: AwaitedState) async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        _ = try await rig.manager.replace(try Rig.spec("web") { $0["port"] = state == .ready ? 1 : nil })
        guard case .waitTimeout(let service, _, nil) = try await Self.wait(rig, state, within: .zero).error() else {
            Issue.record("no time-out")
            return
        }
        #expect(service.status == .running)
    }

    @Test @EventLoopActor func `a port of the account is ready where the kernel reports no more, and that is said`()
        async throws
    {
        let listener = try LoopbackListener()
        let rig = try Rig()
        try await rig.start()
        let account = "root"
        func spec(_ port: Int?) throws -> ServiceSpec {
            try Rig.spec("web") { draft in
                draft["user"] = .string(account)
                draft["port"] = port.map { .number(JSONNumber($0)) }
            }
        }
        _ = try await rig.manager.create(try spec(Int(listener.port)))
        rig.systemd.report("web", .running(pid: 1, startedAt: Self.microseconds()))
        // There is no cgroup of that unit on this machine.
        #expect(try await Self.wait(rig, .ready).value().status == .running)
        let message = try rig.manager.service("web").message
        #expect(
            message?.hasPrefix("port \(listener.port) accepts connections, and this kernel does not report") == true
        )
        // The next run has not been waited for.
        rig.systemd.report("web", .running(pid: 2, startedAt: Self.microseconds()))
        #expect(try await eventually { rig.manager.services.values.first?.state.mainPID == 2 })
        #expect(try rig.manager.service("web").message == nil)
    }
}
