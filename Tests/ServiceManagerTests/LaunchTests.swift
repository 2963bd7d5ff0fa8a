import Foundation
import JSON
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

/// What is known of a service between systemd's "active" and the command's first instruction.
@Suite(.onEventLoop, .serialized, .timeLimit(.minutes(1)))
struct LaunchTests {
    /// A launcher that runs: its file, and what the kernel shows of its process.
    @EventLoopActor
    private final class Process {
        let directory: TemporaryDirectory
        let name: ServiceName
        var launched: [ServiceName] = []
        private(set) var watch: LaunchWatch?
        var launcher: String { directory.path + "/launch-1" }

        init() throws {
            directory = try TemporaryDirectory()
            name = try #require(ServiceName("web"))
            try FileManager.default.createDirectory(atPath: directory.path + "/7", withIntermediateDirectories: false)
            for file in ["launch-", "launch-x", "launch-1x", "launch-1"] {
                try Data("x".utf8).write(to: URL(filePath: directory.path + "/" + file))
            }
            watch = LaunchWatch(processDirectory: directory.path, launcherPrefix: directory.path + "/launch-") {
                [weak self] in self?.launched.append($0)
            }
        }

        /// What the process is; "/launch" in the line stands for the path of the launcher's file.
        func shows(_ line: String) throws {
            let line = line.replacing("/launch", with: directory.path + "/launch")
            try Data(line.utf8).write(to: URL(filePath: directory.path + "/7/cmdline"))
        }

        /// Its line in /proc/PID/stat; empty for none.
        func has(status: String, of pid: Int = 7) throws {
            let path = directory.path + "/\(pid)"
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            if status.isEmpty {
                try FileManager.default.removeItem(atPath: path + "/stat")
            } else {
                try Data(status.utf8).write(to: URL(filePath: path + "/stat"))
            }
        }

        func isLaunching(_ pid: Int? = 7, _ active: ActiveState = .active, after former: UnitState = UnitState())
            -> Bool
        {
            var state = UnitState()
            state.activeState = active
            state.mainPID = pid
            return watch?.isLaunching(name, state, after: former) ?? false
        }

        /// What execve(2) does to the launcher's file.
        func closesFile() throws { try FileHandle(forReadingFrom: URL(filePath: launcher)).close() }
    }

    private static let line = "/launch-1\0web\0/\0server\0"

    @Test(arguments: [
        "/usr/bin/python3\0-m\0http.server\0", "/launch-\0", "/launch-x\0", "/launch-1x\0", "/launch-1", "launch-1\0",
        "",
    ])
    @EventLoopActor func `a process that is no launcher is the command`(line: String) throws {
        let process = try Process()
        try process.shows(line)
        #expect(!process.isLaunching())
    }

    @Test @EventLoopActor func `a launcher is told when it has become the command`() async throws {
        let process = try Process()
        try process.shows(Self.line)
        #expect(process.isLaunching())
        // Another process's.
        try process.closesFile()
        for _ in 0..<3 { try await turnLoop() }
        #expect(process.launched.isEmpty)
        try process.shows("server\0")
        try process.closesFile()
        #expect(try await eventually { process.launched == [process.name] })
    }

    /// What /proc tells of a process that has ended: its state, and those of which it tells nothing at all.
    @Test(arguments: ["7 (launch-1) Z 1 7", "7 (a) S b) X 1 7", "7 (launch-1) R 1 7 7 0 -1 4194564 9", ""])
    @EventLoopActor func `a launcher that ends without executing the command is not told`(status: String) async throws {
        let process = try Process()
        try process.shows(Self.line)
        try process.has(status: "1 (systemd) S 0 1", of: 1)
        try process.has(status: "7 (launch-1) S 1 7 7 0 -1 4194560 9")
        #expect(process.isLaunching())
        try process.shows("")
        try process.has(status: status)
        try process.closesFile()
        for _ in 0..<3 { try await turnLoop() }
        #expect(process.launched.isEmpty)
        // One that had ended before it was looked at may not have executed the command either.
        #expect(process.isLaunching())
    }

    @Test @EventLoopActor func `a launcher whose close is missed is looked at again`() async throws {
        let process = try Process()
        try process.shows(Self.line)
        #expect(process.isLaunching())
        try process.shows("server\0")
        #expect(try await eventually { process.launched == [process.name] })
    }

    @Test @EventLoopActor func `a process that was the command before stays it`() throws {
        let process = try Process()
        try process.shows(Self.line)
        var former = UnitState()
        former.activeState = .active
        former.mainPID = 7
        #expect(!process.isLaunching(after: former))
        former.mainPID = 6
        #expect(process.isLaunching(after: former))
    }

    @Test @EventLoopActor func `a launcher whose file cannot be watched is not waited for`() throws {
        let process = try Process()
        try process.shows("/launch-99999999\0web\0/\0server\0")
        #expect(!process.isLaunching())
    }

    @Test @EventLoopActor func `a unit without a process, or that is not active, launches nothing`() throws {
        let process = try Process()
        try process.shows(Self.line)
        #expect(!process.isLaunching(nil))
        #expect(!process.isLaunching(7, .activating))
        #expect(!process.isLaunching(8))
    }

    @Test @EventLoopActor func `a file that is closed is told, and one that is not there cannot be watched`()
        async throws
    {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/program"
        #expect(throws: SystemError.self) { try CloseWatch(path) {} }
        try Data("x".utf8).write(to: URL(filePath: path))
        let closings = Arrivals<Void>()
        let watch = try CloseWatch(path) { closings.add(()) }
        let file = try FileHandle(forReadingFrom: URL(filePath: path))
        try file.close()
        try await closings.next()
        withExtendedLifetime(watch) {}
    }

    @Test @EventLoopActor func `a handler may let go of all watches on its file`() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/program"
        try Data("x".utf8).write(to: URL(filePath: path))
        let closings = Arrivals<Void>()
        var watches: [CloseWatch] = []
        for round in 1...50 {
            for _ in 0..<3 {
                watches.append(
                    try CloseWatch(path) {
                        watches = []
                        closings.add(())
                    }
                )
            }
            // Each is told in its round: of three watches one handler runs, which lets go of the others.
            try FileHandle(forReadingFrom: URL(filePath: path)).close()
            try await closings.next()
            #expect(watches.isEmpty, "round \(round)")
        }
    }

    @Test @EventLoopActor func `the state of journald is asked for once and then followed`() async throws {
        let rig = try Rig()
        #expect(await rig.manager.readiness.journalState == nil)
        try await rig.start()
        #expect(await rig.manager.readiness.journalState == .active)
        #expect(rig.manager.measurements().isJournalActive == true)
        rig.systemd.reportJournal("deactivating")
        rig.systemd.reportJournal("failed")
        #expect(try await eventually { rig.manager.measurements().isJournalActive == false })
        #expect(await rig.manager.readiness.journalState == .failed)
    }

    @Test @EventLoopActor func `a main process that leaves others behind is remembered until the next run`()
        async throws
    {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        let name = try #require(ServiceName("web"))
        var unit = FakeSystemd.Unit.running(pid: 100, startedAt: 100_000_000_000)
            .ended("deactivating", "stop-sigterm", code: 1, status: 0, result: "success")
        rig.systemd.report("web", unit)
        #expect(try await eventually { rig.manager.services[name]?.record.run.leftProcesses == true })
        unit.active = "inactive"
        unit.sub = "dead"
        rig.systemd.report("web", unit)
        #expect(try await eventually { rig.status("web") == .stopped })
        #expect(rig.manager.services[name]?.snapshot.message?.contains("left processes behind") == true)
        rig.manager.finish()
        #expect(try rig.record("web")?.run.leftProcesses == true)
        rig.systemd.report("web", .running(pid: 101, startedAt: 101_000_000_000))
        #expect(try await eventually { rig.manager.services[name]?.record.run.leftProcesses == false })
    }

    @Test(arguments: [("deactivating", "stop-sigterm", 100, 0), ("deactivating", "stop-sigterm", 0, 3)])
    @EventLoopActor func `a unit that is stopped by hand, or fails, has left none`(
        active: String,
        sub: String,
        pid: UInt32,
        status: Int32
    ) async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web")
        let name = try #require(ServiceName("web"))
        var unit = FakeSystemd.Unit.running(pid: 100, startedAt: 100_000_000_000)
            .ended(active, sub, code: 1, status: status, result: "success")
        unit.pid = pid
        if pid != 0 { unit.code = 0 }
        rig.systemd.report("web", unit)
        #expect(try await eventually { rig.manager.services[name]?.state.activeState == .deactivating })
        // Then the main process ends as well.
        unit.pid = 0
        unit.code = 1
        rig.systemd.report("web", unit)
        #expect(try await eventually { rig.manager.services[name]?.state.mainPID == nil })
        #expect(rig.manager.services[name]?.record.run.leftProcesses == false)
    }
}

/// Units that another version of the agent has written.
@Suite(.onEventLoop, .serialized, .timeLimit(.minutes(1)))
struct EarlierUnitTests {
    @EventLoopActor
    private func adopt(_ change: (ServiceRecord, StateLayout) throws -> Void) async throws -> (Rig, ServiceRecord) {
        let rig = try Rig()
        try rig.leave("web") { record in
            if let spec = try? Rig.spec("web", { $0["env"] = ["A": "b"] }) { record.spec = spec }
        }
        let record = try #require(try rig.record("web"))
        try change(record, rig.layout)
        try await rig.start()
        return (rig, record)
    }

    private static func write(_ text: String, _ record: ServiceRecord, _ layout: StateLayout) throws {
        let path = layout.unitDirectory + "/" + UnitName.unit(of: record.spec.name)
        try Data(text.utf8).write(to: URL(filePath: path))
        let environment = layout.environmentDirectory + "/web.env"
        try Data((PrivateFile.render(record.spec) ?? "").utf8).write(to: URL(filePath: environment))
        try UnitDirectory(layout).setEnabled(true, record.spec.name)
    }

    private static func unit(_ layout: StateLayout) throws -> String {
        try String(contentsOfFile: layout.unitDirectory + "/miosa-service-web.service", encoding: .utf8)
    }

    @Test @EventLoopActor func `a unit of version 0-1-0 stays as it is until its next start`() async throws {
        let (rig, record) = try await adopt { record, layout in
            let privateFile = layout.environmentDirectory + "/web.env"
            let text = EarlierUnitFile.render(record.spec, id: record.id, privateFile: privateFile)
            try Self.write(text, record, layout)
        }
        let before = try Self.unit(rig.layout)
        #expect(before.contains("ExecStart=:/usr/bin/systemd-cat "))
        #expect(rig.notices.all.isEmpty)
        rig.systemd.script = { call in
            if call.member == "StartUnit" { rig.systemd.afterwards { rig.systemd.endJob("web") } }
            return nil
        }
        _ = try await rig.manager.start("web")
        #expect(try Self.unit(rig.layout).contains("ExecStart=:\(UnitFile.launcher) miosa-service-web"))
        #expect(record.id == (try rig.record("web"))?.id)
    }

    @Test(arguments: ["0", "2", "77"])
    @EventLoopActor func `a unit with the launcher of another version stays, too`(number: String) async throws {
        let launcher = UnitFile.launcherPrefix + number
        let (rig, _) = try await adopt { record, layout in
            let privateFile = layout.environmentDirectory + "/web.env"
            let text = UnitFile.render(record.spec, id: record.id, privateFile: privateFile, launcher: launcher)
            try Self.write(text, record, layout)
        }
        #expect(try Self.unit(rig.layout).contains("ExecStart=:\(launcher) "))
        #expect(rig.notices.all.isEmpty)
    }

    @Test(arguments: ["User=root\n", "# by hand\n"])
    @EventLoopActor func `one that was changed by hand is shown as drifted until it is started`(line: String)
        async throws
    {
        var changed = ""
        let (rig, _) = try await adopt { record, layout in
            let privateFile = layout.environmentDirectory + "/web.env"
            changed = EarlierUnitFile.render(record.spec, id: record.id, privateFile: privateFile) + line
            try Self.write(changed, record, layout)
        }
        #expect(try Self.unit(rig.layout) == changed)
        let path = rig.layout.unitDirectory + "/miosa-service-web.service"
        #expect(rig.notices.all.contains { $0.contains("the unit file \(path) was changed by hand") })
        #expect(try rig.manager.service("web").drift == .unitFile(.edited(path: path)))
        rig.systemd.obey()
        let service = try await rig.manager.start("web")
        #expect(service.drift == nil && service.subStatus == nil)
        #expect(try Self.unit(rig.layout).contains("ExecStart=:\(UnitFile.launcher) "))
    }

    @Test @EventLoopActor func `one whose environment file is another's gets its own back`() async throws {
        let (rig, record) = try await adopt { record, layout in
            let privateFile = layout.environmentDirectory + "/web.env"
            let text = EarlierUnitFile.render(record.spec, id: record.id, privateFile: privateFile)
            try Self.write(text, record, layout)
            try Data("A=\"c\"\n".utf8).write(to: URL(filePath: privateFile))
        }
        let content = try String(contentsOfFile: rig.layout.environmentDirectory + "/web.env", encoding: .utf8)
        #expect(content == EarlierUnitFile.privateFile(record.spec))
        #expect(try Self.unit(rig.layout).contains("ExecStart=:/usr/bin/systemd-cat "))
        #expect(try rig.manager.service("web").drift == nil)
    }

    @Test func `version 0-1-0 carried what systemd cannot in a script`() throws {
        let noncharacter = String(Unicode.Scalar(0xFFFF) ?? "?")
        let spec = try Rig.spec("web") { draft in
            draft["command"] = .string("echo '\(noncharacter)'")
            draft["cwd"] = "/srv/../x"
            draft["env"] = ["A": "it's"]
        }
        let lines = [
            "unset CREDENTIALS_DIRECTORY", "export A='it'\\''s'",
            "exec '/usr/bin/env' '--chdir=/srv/../x' '--' '/bin/sh' '-c' 'echo '\\''\(noncharacter)'\\'''", "",
        ]
        #expect(EarlierUnitFile.privateFile(spec) == lines.joined(separator: "\n"))
        let unit = EarlierUnitFile.render(spec, id: "id", privateFile: "/p")
        #expect(unit.contains("\nLoadCredential=launch:/p\n") && !unit.contains("WorkingDirectory="))
    }
}
