import Foundation
import JSON
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

/// The records of ended runs.
@Suite(.onEventLoop, .serialized, .hangLimit)
struct RunsTests {
    private typealias Unit = FakeSystemd.Unit

    private static func run(_ pid: UInt32, restarts: UInt32 = 0) -> Unit {
        var unit = Unit.running(pid: pid, startedAt: UInt64(pid) * 1_000_000_000)
        unit.restarts = restarts
        return unit
    }

    /// "1 exited 3 restarted".
    private static func describe(_ run: EndedRun) -> String {
        let end = run.ending.map { String($0.exitCode) } ?? "-"
        return "\(run.number) \(run.cause.rawValue) \(end)\(run.isRestarted ? " restarted" : "")"
    }

    @EventLoopActor private static func runs(_ rig: Rig) async throws -> [String] {
        try await rig.manager.runs(of: "web").reversed().map(describe)
    }

    @Test @EventLoopActor func `each end is a record with what systemd has counted`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web", pid: 1)
        let listener = try await EventListener(rig)
        let crashed = Self.run(1).ended("activating", "auto-restart", code: 1, status: 3, result: "exit-code")
        rig.systemd.report("web", crashed)
        rig.systemd.report("web", Self.run(2, restarts: 1))
        rig.systemd.report("web", Self.run(2).ended("failed", "failed", code: 2, status: 11, result: "signal"))
        let told = try await listener.nextRuns(2)
        #expect(told.map(Self.describe) == ["1 exited 3 restarted", "2 signal 139"])
        #expect(try await Self.runs(rig) == ["1 exited 3 restarted", "2 signal 139"])
        let last = try #require(try await rig.manager.runs(of: "web").first)
        #expect(last.startedAt == Timestamp(microseconds: 2_000_000_000))
        #expect(last.endedAt == Timestamp(microseconds: 2_001_000_000))
        #expect(last.bootID == Rig.bootID)
        #expect(last.invocationID == "02020202-0202-0202-0202-020202020202")
        #expect(last.cpuMilliseconds == 7)
        #expect(last.memoryPeak == 4096)
    }

    @Test @EventLoopActor func `the figures of a run that has begun since are not taken`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web", pid: 1)
        let listener = try await EventListener(rig)
        rig.systemd.units[FakeSystemd.unit("web")] = Self.run(2)
        rig.systemd.script = { call in
            // What systemd holds is the next run, of which the signal has not come.
            guard call.arguments.last == "InvocationID" else { return nil }
            return .reply { message in message.variant("ay") { message.bytes([UInt8](repeating: 2, count: 16)) } }
        }
        rig.systemd.report("web", Self.run(1).ended("failed", "failed", code: 1, status: 3, result: "exit-code"))
        let run = try #require(try await listener.nextRuns(1).first)
        #expect(run.cpuMilliseconds == nil)
        #expect(run.memoryPeak == nil)
    }

    @Test @EventLoopActor func `a stop and a restart on request are the cause`() async throws {
        let rig = try await Rig.serving()
        let listener = try await EventListener(rig)
        _ = try await rig.manager.restart("web")
        _ = try await rig.manager.stop("web")
        #expect(try await listener.nextRuns(2).map(Self.describe) == ["1 replaced 143", "2 stopped 143"])
    }

    @Test(arguments: [("running", "stopped"), ("stopping", "power-off")]) @EventLoopActor
    func `a stop by another client is told from the end of the machine`(state: String, cause: String) async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web", pid: 1)
        let listener = try await EventListener(rig)
        rig.systemd.systemState = state
        var stopping = Self.run(1)
        (stopping.active, stopping.sub) = ("deactivating", "stop-sigterm")
        rig.systemd.report("web", stopping)
        rig.systemd.report("web", Self.run(1).ended("inactive", "dead", code: 2, status: 15, result: "success"))
        #expect(try await listener.nextRuns(1).map(\.cause.rawValue) == [cause])
    }

    @Test @EventLoopActor func `a run that did not come to its command has no end of the one before`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web", pid: 1)
        let listener = try await EventListener(rig)
        let ended = Self.run(1).ended("failed", "failed", code: 1, status: 3, result: "exit-code")
        rig.systemd.report("web", ended)
        // The properties of the main process are those of the run before.
        var preparing = ended
        (preparing.active, preparing.sub, preparing.result) = ("activating", "start-pre", "success")
        preparing.invocation = [UInt8](repeating: 9, count: 16)
        rig.systemd.report("web", preparing)
        var failed = preparing
        (failed.active, failed.sub, failed.result) = ("failed", "failed", "timeout")
        rig.systemd.report("web", failed)
        let runs = try await listener.nextRuns(2)
        #expect(runs.map(Self.describe) == ["1 exited 3", "2 timeout -"])
        #expect(runs.last?.startedAt == nil)
        #expect(runs.last?.endedAt != nil)
    }

    @Test(arguments: ["inactive", "failed"]) @EventLoopActor
    func `a restart that systemd does not make is taken back`(last: String) async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web", pid: 1)
        let listener = try await EventListener(rig)
        let waiting = Self.run(1).ended("activating", "auto-restart", code: 1, status: 3, result: "exit-code")
        rig.systemd.report("web", waiting)
        #expect(try await listener.nextRuns(1).map(Self.describe) == ["1 exited 3 restarted"])
        var dead = waiting
        (dead.active, dead.sub) = (last, last == "failed" ? "failed" : "dead")
        rig.systemd.report("web", dead)
        #expect(try await listener.nextRuns(1).map(Self.describe) == ["1 exited 3"])
        #expect(try await Self.runs(rig) == ["1 exited 3"])
    }

    @Test(arguments: [true, false]) @EventLoopActor
    func `an end that comes with the begin of the next run is recorded`(isRestart: Bool) async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web", pid: 1)
        let listener = try await EventListener(rig)
        // systemd has sent one message for all of it: the main process is that of the run before.
        var next = Self.run(1).ended("activating", "start-pre", code: 1, status: 3, result: "success")
        next.invocation = [UInt8](repeating: 2, count: 16)
        next.restarts = isRestart ? 1 : 0
        rig.systemd.report("web", next)
        rig.systemd.report("web", Self.run(2, restarts: isRestart ? 1 : 0))
        #expect(try await listener.nextRuns(1).map(Self.describe) == ["1 exited 3\(isRestart ? " restarted" : "")"])
        #expect(try await eventually { rig.status("web") == .running })
        #expect(try await Self.runs(rig).count == 1)
    }

    @Test @EventLoopActor func `a file that cannot be written keeps no other service from its record`() async throws {
        let rig = try Rig()
        try await rig.start()
        let bad = try await rig.create("web", pid: 1)
        _ = try await rig.create("other", pid: 2)
        let listener = try await EventListener(rig)
        let path = rig.layout.runDirectory + "/" + bad.record.id
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        for (name, pid) in [("web", UInt32(1)), ("other", 2)] {
            rig.systemd.report(name, Self.run(pid).ended("failed", "failed", code: 1, status: 3, result: "exit-code"))
        }
        #expect(try await listener.nextRuns(1).map(Self.describe) == ["1 exited 3"])
        #expect(try await rig.manager.runs(of: "other").count == 1)
        try FileManager.default.removeItem(atPath: path)
        #expect(try await listener.nextRuns(1).map(Self.describe) == ["1 exited 3"])
        #expect(try await Self.runs(rig) == ["1 exited 3"])
    }

    @Test @EventLoopActor func `a write is retried also after a deletion`() async throws {
        let rig = try await Rig.serving()
        let other = try await rig.manager.create(try Rig.spec("other"))
        #expect(try await eventually { rig.status("other") == .running })
        _ = try await rig.manager.delete("web", by: Requester(uid: nil, requestID: "r"))
        let listener = try await EventListener(rig)
        let path = rig.layout.runDirectory + "/" + other.record.id
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        let unit = try #require(rig.systemd.units[FakeSystemd.unit("other")])
        rig.systemd.report("other", unit.ended("failed", "failed", code: 1, status: 3, result: "exit-code"))
        #expect(try await eventually { rig.notices.all.contains { $0.contains("cannot write the record of a run") } })
        try FileManager.default.removeItem(atPath: path)
        #expect(try await listener.nextRuns(1).map(Self.describe) == ["1 exited 3"])
    }

    @Test @EventLoopActor func `the newest are kept`() async throws {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web", pid: 1)
        let listener = try await EventListener(rig)
        let count = EndedRun.countLimit + 3
        for pid in 1...UInt32(count) {
            rig.systemd.report("web", Self.run(pid, restarts: pid))
            var end = Self.run(pid).ended("activating", "auto-restart", code: 1, status: 0, result: "success")
            end.restarts = pid
            rig.systemd.report("web", end)
            #expect(try await listener.nextRuns(1).map(\.number) == [Int(pid)])
        }
        let kept = try await rig.manager.runs(of: "web").map(\.number)
        #expect(kept == Array((count - EndedRun.countLimit + 1)...count).reversed())
    }

    @Test @EventLoopActor func `a record that cannot be written is written later, and the next agent knows of it`()
        async throws
    {
        let rig = try Rig()
        try await rig.start()
        _ = try await rig.create("web", pid: 1)
        // In the way of the directory.
        let manager = FileManager.default
        try manager.removeItem(atPath: rig.layout.runDirectory)
        try Data().write(to: URL(filePath: rig.layout.runDirectory))
        rig.systemd.report(
            "web",
            Self.run(1).ended("activating", "auto-restart", code: 1, status: 3, result: "exit-code")
        )
        rig.systemd.report("web", Self.run(2, restarts: 1))
        #expect(try await eventually { rig.notices.all.contains { $0.contains("cannot write the record of a run") } })
        #expect(try await eventually { rig.status("web") == .running })
        rig.manager.finish()
        // As if it had died now: the former run is not recorded.
        let stored = try #require(try rig.record("web")?.run)
        #expect(stored.invocationID == "01010101-0101-0101-0101-010101010101")
        #expect(!stored.isRecorded)
        #expect(stored.ending == .exited(3))
        let listener = try await EventListener(rig)
        try manager.removeItem(atPath: rig.layout.runDirectory)
        try manager.createDirectory(atPath: rig.layout.runDirectory, withIntermediateDirectories: false)
        #expect(try await listener.nextRuns(1).map(Self.describe) == ["1 exited 3 restarted"])
        rig.manager.finish()
        #expect(try rig.record("web")?.run.invocationID == "02020202-0202-0202-0202-020202020202")
    }

    @Test(arguments: [true, false]) @EventLoopActor
    func `an agent that starts records the end that the one before has seen, once`(isWritten: Bool) async throws {
        let rig = try Rig()
        try rig.leave("web") { record in
            record.run = ServiceRun(
                startedAt: Timestamp(microseconds: 1_000_000_000),
                exitedAt: Timestamp(microseconds: 1_001_000_000),
                ending: .exited(3),
                result: "exit-code",
                hasEnded: true
            )
            record.run.invocationID = "01010101-0101-0101-0101-010101010101"
            record.run.bootID = Rig.bootID
            record.run.isRecorded = false
        }
        if isWritten {
            var run = EndedRun(number: 1, cause: .exited, isRestarted: true)
            (run.invocationID, run.ending) = ("01010101-0101-0101-0101-010101010101", .exited(3))
            try RunStore(rig.layout).prepare(for: nil)
            try performed { RunStore(rig.layout).write(run, of: "id-of-web", into: &$0) }
        }
        try rig.restart()
        rig.systemd.units[FakeSystemd.unit("web")] = Self.run(2)
        try await rig.start()
        #expect(try await eventually { (try? rig.record("web"))??.run.invocationID?.hasPrefix("02") ?? false })
        #expect(try await Self.runs(rig) == ["1 exited 3 restarted"])
    }

    @Test @EventLoopActor func `a run whose boot has ended has ended with the machine`() async throws {
        let rig = try Rig()
        try rig.leave("web") { record in
            record.run = Rig.running(since: Timestamp(microseconds: 1_000_000))
            record.run.invocationID = "01010101-0101-0101-0101-010101010101"
            record.run.bootID = "00000000-0000-0000-0000-000000000001"
            record.run.isRecorded = false
        }
        try rig.restart()
        rig.systemd.units[FakeSystemd.unit("web")] = Self.run(2)
        try await rig.start()
        #expect(try await eventually { (try? rig.record("web"))??.run.invocationID?.hasPrefix("02") ?? false })
        #expect(try await Self.runs(rig) == ["1 power-off -"])
    }

    @Test @EventLoopActor func `the records go with the service`() async throws {
        let rig = try await Rig.serving()
        let listener = try await EventListener(rig)
        _ = try await rig.manager.restart("web")
        _ = try await listener.nextRuns(1)
        #expect(try FileManager.default.contentsOfDirectory(atPath: rig.layout.runDirectory).count == 1)
        _ = try await rig.manager.delete("web", by: Requester(uid: nil, requestID: "r"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: rig.layout.runDirectory).isEmpty)
        await #expect(throws: ControlError.serviceNotFound) { try await rig.manager.runs(of: "web") }
    }

    @Test(arguments: [true, false]) @EventLoopActor
    func `records of services that do not exist are removed, unless a record cannot be read`(isReadable: Bool) throws {
        let rig = try Rig()
        try rig.leave("web")
        if !isReadable { try Data("{".utf8).write(to: URL(filePath: rig.layout.recordDirectory + "/other.json")) }
        try RunStore(rig.layout).prepare(for: nil)
        for id in ["id-of-web", "id-of-other"] {
            let run = EndedRun(number: 1, cause: .exited, isRestarted: false)
            try performed { RunStore(rig.layout).write(run, of: id, into: &$0) }
        }
        try rig.manager.start()
        let files = try FileManager.default.contentsOfDirectory(atPath: rig.layout.runDirectory).sorted()
        #expect(files == (isReadable ? ["id-of-web"] : ["id-of-other", "id-of-web"]))
    }

    @Test @EventLoopActor func `a run tells the fields that have changed since the run before`() async throws {
        let rig = try await Rig.serving()
        let listener = try await EventListener(rig)
        _ = try await rig.manager.replace(try Rig.spec("web") { $0["command"] = "other" }, restarts: true)
        _ = try await rig.manager.restart("web")
        _ = try await rig.manager.stop("web")
        let runs = try await listener.nextRuns(3)
        #expect(runs.map { $0.conditions?.changedFields ?? [] } == [[], ["command"], []])
    }
}

/// The ring on disk.
struct RunStoreTests {
    private static func run(_ number: Int) -> EndedRun {
        var run = EndedRun(number: number, cause: .oomLimit, isRestarted: true)
        run.invocationID = "01010101-0101-0101-0101-010101010101"
        run.bootID = "02010101-0101-0101-0101-010101010101"
        run.startedAt = Timestamp(microseconds: 1)
        run.endedAt = Timestamp(microseconds: 2)
        run.ending = .killed(signal: 9)
        run.result = "oom-kill"
        run.memoryPeak = 3
        run.cpuMilliseconds = 4
        run.clockOffset = -5
        run.portHolder = "the service 'other'"
        run.conditions = RunConditions(changedFields: ["env"], dropIns: [.init(path: "/etc/x.conf", hash: .max)])
        return run
    }

    @Test func `a record is read as it was written`() {
        let bytes = RunCoding.encode(Self.run(7))
        #expect(bytes.count == RunStore.recordBytes)
        #expect(RunCoding.decode(bytes[...]) == Self.run(7))
        let least = EndedRun(number: 1, cause: .unknown, isRestarted: false)
        #expect(RunCoding.decode(RunCoding.encode(least)[...]) == least)
    }

    @Test func `every cause has its word`() {
        for cause in EndedRun.Cause.allCases {
            let run = EndedRun(number: 1, cause: cause, isRestarted: false)
            #expect(RunCoding.decode(RunCoding.encode(run)[...])?.cause == cause)
        }
    }

    @Test func `a record that is too long loses texts and nothing else`() {
        var run = Self.run(7)
        let dropIns = (0..<100).map { RunConditions.DropIn(path: "/etc/systemd/system/\($0).conf", hash: $0) }
        run.conditions = RunConditions(changedFields: ["env"], dropIns: dropIns)
        let bytes = RunCoding.encode(run)
        #expect(bytes.count == RunStore.recordBytes)
        let read = RunCoding.decode(bytes[...])
        #expect(read?.conditions?.changedFields == ["env"])
        #expect(read?.conditions?.dropIns == [])
        #expect(read?.areConditionsKnown == false)
        #expect(read?.portHolder == run.portHolder)
        run.portHolder = String(repeating: "\u{1}", count: 300)
        run.conditions = RunConditions(changedFields: (0..<200).map { "field\($0)" }, dropIns: [])
        var least = run
        (least.portHolder, least.conditions, least.areConditionsKnown) = (nil, nil, false)
        #expect(RunCoding.decode(RunCoding.encode(run)[...]) == least)
    }

    @Test func `a torn record is no record and leaves the others`() throws {
        let whole = RunCoding.encode(Self.run(7))
        let end = try #require(whole.firstIndex(of: UInt8(ascii: "\n")))
        for cut in 0..<end {
            let torn = Array(whole[..<cut]) + [UInt8](repeating: 0, count: RunStore.recordBytes - cut)
            #expect(RunCoding.decode(torn[...]) == nil, "cut at \(cut)")
        }
        let torn = Array(whole[..<300]) + [UInt8](repeating: 32, count: RunStore.recordBytes - 300)
        let empty = [UInt8](repeating: 0, count: RunStore.recordBytes)
        let file = RunCoding.encode(Self.run(21)) + torn + empty + RunCoding.encode(Self.run(20)) + whole.prefix(100)
        #expect(RunStore.records(in: file).map(\.number) == [20, 21])
    }

    @Test(arguments: ["0", "-1", "1.5", "\"1\"", "null"]) func `a number that none can have is no record`(
        number: String
    ) {
        let text = "{\"n\":\(number),\"cause\":\"exited\",\"restarted\":false}\n"
        #expect(RunCoding.decode(Array(text.utf8)[...]) == nil)
    }

    @Test func `a cause of a newer version is unknown`() {
        let text = "{\"n\":1,\"cause\":\"not-ready\",\"restarted\":false}\n"
        #expect(RunCoding.decode(Array(text.utf8)[...])?.cause == .unknown)
    }
}
