import Foundation
import JSON
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

/// What a person does to a unit by other means than the API.
@Suite(.onEventLoop, .serialized, .hangLimit)
struct DriftTests {
    @EventLoopActor private static func drift(_ rig: Rig, _ name: String = "web") throws -> Drift? {
        try rig.manager.service(name).drift
    }

    @EventLoopActor private static func running() async throws -> Rig {
        let rig = try await Rig.serving()
        return rig
    }

    @Test @EventLoopActor func `the agent's own work on files is never drift`() async throws {
        let rig = try await Self.running()
        let before = rig.manager.announcements.log.nextSequence
        _ = try await rig.manager.restart("web")
        _ = try await rig.manager.stop("web")
        _ = try await rig.manager.start("web")
        _ = try await rig.manager.replace(try Rig.spec("web") { $0["command"] = "other" })
        let told = rig.manager.announcements.log.events(from: before, bytes: 1 << 30) ?? []
        #expect(!told.isEmpty)
        #expect(told.allSatisfy { $0.service.drift == nil })
        #expect(try Self.drift(rig) == nil)
    }

    @Test @EventLoopActor func `a link that is removed or made by hand is told and a restart mends it`() async throws {
        let rig = try await Self.running()
        let link = rig.layout.unitDirectory + "/multi-user.target.wants/miosa-service-web.service"
        try FileManager.default.removeItem(atPath: link)
        #expect(try await eventually { rig.manager.services.values.first?.snapshot.drift == .disabled })
        _ = try await rig.manager.restart("web")
        #expect(try Self.drift(rig) == nil)
        _ = try await rig.manager.stop("web")
        #expect(try Self.drift(rig) == nil)
        let unit = rig.layout.unitDirectory + "/miosa-service-web.service"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: unit)
        #expect(try await eventually { rig.manager.services.values.first?.snapshot.drift == .enabled })
        _ = try await rig.manager.start("web")
        #expect(try Self.drift(rig) == nil)
    }

    @Test(arguments: ["masked", "edited", "missing"])
    @EventLoopActor func `another unit file is told and an equal PUT runs what was asked for`(what: String) async throws
    {
        let rig = try await Self.running()
        let path = rig.layout.unitDirectory + "/miosa-service-web.service"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        switch what {
        case "masked":
            try FileManager.default.removeItem(atPath: path)
            try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/dev/null")
        case "edited": try Data((text + "# by hand\n").utf8).write(to: URL(filePath: path))
        default: try FileManager.default.removeItem(atPath: path)
        }
        let expected: [String: UnitFileFindings.Deviation] = [
            "masked": .masked(path: path), "edited": .edited(path: path), "missing": .missing(path: path),
        ]
        #expect(
            try await eventually {
                rig.manager.services.values.first?.snapshot.drift == expected[what].map { .unitFile($0) }
            }
        )
        let pid = try rig.manager.service("web").state.mainPID
        let (service, isNew) = try await rig.manager.replace(try Rig.spec("web"))
        #expect(!isNew && service.drift == nil && service.state.mainPID != pid)
        #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
    }

    @Test @EventLoopActor func `a file of a directory that counts first takes the agent's place`() async throws {
        let rig = try await Self.running()
        let control = rig.directory.path + "/units.control"
        try FileManager.default.createDirectory(atPath: control, withIntermediateDirectories: false)
        let path = control + "/miosa-service-web.service"
        try Data("[Service]\nExecStart=/bin/true\n".utf8).write(to: URL(filePath: path))
        #expect(
            try await eventually {
                rig.manager.services.values.first?.snapshot.drift == .unitFile(.overridden(path: path))
            }
        )
        try FileManager.default.removeItem(atPath: path)
        #expect(try await eventually { rig.manager.services.values.first?.snapshot.drift == nil })
    }

    @Test @EventLoopActor func `drop-ins are shown in the order in which systemd applies them`() async throws {
        let rig = try await Self.running()
        func put(_ path: String) throws {
            let url = URL(filePath: rig.directory.path + "/" + path)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(),
                withIntermediateDirectories: true
            )
            try Data("[Service]\n".utf8).write(to: url)
        }
        let unit = "miosa-service-web.service.d"
        func shown(_ paths: [String]) async throws -> Bool {
            try await eventually {
                rig.manager.services.values.first?.snapshot.dropIns == paths.map { rig.directory.path + "/" + $0 }
            }
        }
        try put("units/\(unit)/b.conf")
        #expect(try await shown(["units/\(unit)/b.conf"]))
        // In a directory that is watched since it was found.
        try put("units/\(unit)/a.conf")
        #expect(try await shown(["units/\(unit)/a.conf", "units/\(unit)/b.conf"]))
        // One that counts first has the name, too.
        try put("units.control/\(unit)/b.conf")
        #expect(try await shown(["units/\(unit)/a.conf", "units.control/\(unit)/b.conf"]))
        // For every service, and not this one's alone.
        try put("units.runtime/miosa-service-.service.d/c.conf")
        try put("units.runtime/service.d/0.conf")
        try put("units.runtime/miosa-service-other.service.d/d.conf")
        let all = [
            "units.runtime/service.d/0.conf", "units/\(unit)/a.conf", "units.control/\(unit)/b.conf",
            "units.runtime/miosa-service-.service.d/c.conf",
        ]
        #expect(try await shown(all))
        #expect(try Self.drift(rig) == nil)
    }

    @Test @EventLoopActor func `a stop job of others is told as such and kept over a start of the agent`() async throws
    {
        let rig = try await Self.running()
        let unit = FakeSystemd.unit("web")
        let running = try #require(rig.systemd.units[unit])
        var stopping = running
        stopping.active = "deactivating"
        stopping.sub = "stop-sigterm"
        rig.systemd.report("web", stopping)
        rig.systemd.report("web", running.ended("inactive", "dead", code: 2, status: 15, result: "success"))
        #expect(try await eventually { rig.status("web") == .stopped })
        #expect(try Self.drift(rig) == .stopped)
        rig.manager.finish()
        try rig.restart()
        try await rig.start()
        #expect(try Self.drift(rig) == .stopped)
        _ = try await rig.manager.start("web")
        #expect(try Self.drift(rig) == nil)
    }

    @Test @EventLoopActor func `an end by itself is no stop`() async throws {
        let rig = try await Self.running()
        let running = try #require(rig.systemd.units[FakeSystemd.unit("web")])
        rig.systemd.report("web", running.ended("deactivating", "stop-sigterm", code: 1, status: 0, result: "success"))
        rig.systemd.report("web", running.ended("inactive", "dead", code: 1, status: 0, result: "success"))
        #expect(try await eventually { rig.status("web") == .stopped })
        #expect(try Self.drift(rig) == nil)
    }

    @Test @EventLoopActor func `a frozen unit is paused`() async throws {
        let rig = try await Self.running()
        var unit = try #require(rig.systemd.units[FakeSystemd.unit("web")])
        for (word, expected) in [
            ("freezing", SubStatus.paused), ("frozen", .paused), ("thawing", nil), ("frozen-by-parent", .paused),
            ("running", nil),
        ] as [(String, SubStatus?)] {
            unit.freezerState = word
            rig.systemd.report("web", unit)
            #expect(try await eventually { rig.manager.services.values.first?.snapshot.subStatus == expected })
        }
    }

    // MARK: Crash loops

    @EventLoopActor private final class Looping {
        var isRunning = false
        var questions = 0
    }

    /// Reports an end of the main process, after which systemd waits to start the unit again.
    @EventLoopActor private static func crash(_ rig: Rig, _ number: Int) throws {
        let unit = FakeSystemd.unit("web")
        var ended = try #require(rig.systemd.units[unit])
        ended = ended.ended("activating", "auto-restart", code: 1, status: 1, result: "exit-code")
        rig.systemd.report("web", ended)
        var next = FakeSystemd.Unit.running(
            pid: UInt32(5000 + number),
            startedAt: UInt64(number + 1) * 1_000_000_000_000
        )
        next.restarts = UInt32(number)
        rig.systemd.report("web", next)
    }

    @Test @EventLoopActor func `ends in a row are a crash loop until somebody starts the service`() async throws {
        let rig = try await Self.running()
        try Self.crash(rig, 1)
        #expect(try await eventually { rig.manager.services.values.first?.state.restarts == 1 })
        #expect(try rig.manager.service("web").subStatus == nil)
        for number in 2...4 {
            try Self.crash(rig, number)
            #expect(try await eventually { rig.manager.services.values.first?.state.restarts == number })
            let service = try rig.manager.service("web")
            #expect(service.status == .running && service.subStatus == .crashLooping)
            #expect(try #require(service.message).contains("\(number) ends"))
        }
        _ = try await rig.manager.restart("web")
        #expect(try rig.manager.service("web").subStatus == nil)
    }

    @Test @EventLoopActor func `a loop ends when the service has run for long enough and not while it waits`()
        async throws
    {
        let name = try #require(ServiceName("web"))
        let limit = try Rig.spec("web").restartLimit
        let steady = Arrivals<ServiceName>()
        let service = Looping()
        let loops = CrashLoops(
            steadyTime: .milliseconds(1),
            isRunning: { _ in
                service.questions += 1
                return service.isRunning
            },
            ended: { steady.add($0) }
        )
        #expect(loops.count(name, limit) == nil)
        #expect(loops.count(name, limit) == 2)
        #expect(loops.count(name, limit) == 3)
        #expect(try await eventually { service.questions > 1 })
        #expect(steady.all.isEmpty)
        service.isRunning = true
        #expect(try await eventually { steady.all == [name] })
        // The next ends are counted anew; an end alone is no loop that could be over.
        #expect(loops.count(name, limit) == nil)
        let before = service.questions
        #expect(try await eventually { service.questions > before })
        #expect(steady.all == [name])
    }
}
