import Foundation
import JSON
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

/// a service manager over a scripted systemd, with directories of its own.
@EventLoopActor
final class Rig {
    let directory: TemporaryDirectory
    let layout: StateLayout
    let systemd: FakeSystemd
    let notices = Arrivals<String>()
    let summaries = Arrivals<ServiceManager.Summary>()
    private(set) var manager: ServiceManager
    private let jobTimeout: Duration?

    // A request waits `jobTimeout` for a job; nil for the default.
    init(jobTimeout: Duration? = nil) throws {
        self.jobTimeout = jobTimeout
        directory = try TemporaryDirectory()
        let path = directory.path
        layout = StateLayout(
            stateDirectory: path + "/state",
            unitDirectory: path + "/units",
            unitPath: [path + "/units.control", path + "/units", path + "/units.runtime"]
        )
        try FileManager.default.createDirectory(atPath: layout.unitDirectory, withIntermediateDirectories: false)
        try FileManager.default.createDirectory(atPath: path + "/invocations", withIntermediateDirectories: false)
        systemd = try FakeSystemd(path + "/systemd")
        manager = try Self.makeManager(layout, systemd, notices, summaries, jobTimeout)
    }

    nonisolated static let bootID = "01010101-0101-0101-0101-010101010101"

    private static func makeManager(
        _ layout: StateLayout,
        _ systemd: FakeSystemd,
        _ notices: Arrivals<String>,
        _ summaries: Arrivals<ServiceManager.Summary>,
        _ jobTimeout: Duration?
    ) throws -> ServiceManager {
        let bootID = try #require(Identifier(bytes: [UInt8](repeating: 1, count: 16)))
        var configuration = ServiceManager.Configuration(layout: layout, bootID: bootID)
        configuration.systemdSocket = systemd.socketPath
        // Beside the state directory.
        configuration.invocationDirectory = layout.stateDirectory + "/../invocations"
        // The processes of the scripted systemd do not exist: none is shown.
        configuration.processDirectory = layout.stateDirectory + "/../processes"
        configuration.startPatience = .milliseconds(100)
        configuration.diskPatience = .seconds(60)
        if let jobTimeout { configuration.jobTimeout = jobTimeout }
        return try ServiceManager(
            configuration,
            report: { notices.add("\($0.severity): \($0.service.map { $0 + ": " } ?? "")\($0.text)") },
            statusChanged: { summaries.add($0) }
        )
    }

    /// Starts the service manager and waits until it knows everything.
    func start() async throws {
        try manager.start()
        try await untilReady()
    }

    func untilReady() async throws {
        if !manager.isReady { await manager.connectivity.wait(atMost: patience) }
        #expect(manager.isReady)
    }

    /// Lets the service manager go, as the end of the process would, and makes another one over the same files.
    func restart() throws {
        manager = try Self.makeManager(layout, systemd, notices, summaries, jobTimeout)
    }

    /// Tells which run of a unit goes on, as systemd does.
    func tellInvocation(_ name: String, _ id: String) throws {
        let link = directory.path + "/invocations/invocation:" + FakeSystemd.unit(name)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: id)
    }

    /// Puts a record on disk, as an earlier agent would have left it.
    func leave(_ name: String, _ change: (inout ServiceRecord) -> Void = { _ in }) throws {
        let store = RecordStore(layout)
        try UnitDirectory(layout).prepare()
        try store.prepare()
        var record = ServiceRecord(
            id: "id-of-\(name)",
            spec: try Self.spec(name),
            createdAt: Timestamp(microseconds: 1_000_000)
        )
        record.phase = .established
        change(&record)
        try store.save(record)
    }

    /// The figures of a run that goes on.
    nonisolated static func running(since startedAt: Timestamp?) -> ServiceRun {
        ServiceRun(startedAt: startedAt, exitedAt: nil, ending: nil, result: nil, hasEnded: false)
    }

    nonisolated static func spec(_ name: String, _ change: (inout SpecDraft) -> Void = { _ in }) throws -> ServiceSpec {
        var draft = SpecDraft()
        draft["name"] = .string(name)
        draft["command"] = "server"
        change(&draft)
        return try draft.validated(defaults: SpecDraft.Defaults(user: "user"))
    }

    /// Creates a service that systemd starts at once.
    func create(_ name: String, pid: UInt32 = 100) async throws -> Service {
        let service = try await manager.create(try Self.spec(name))
        systemd.report(name, .running(pid: pid, startedAt: UInt64(pid) * 1_000_000_000))
        systemd.endJob(name)
        #expect(try await eventually { self.status(name) == .running })
        return service
    }

    /// A manager over a systemd that does what it is asked, with the running service "web".
    static func serving() async throws -> Rig {
        let rig = try Rig()
        try await rig.start()
        rig.systemd.obey()
        _ = try await rig.manager.create(try spec("web"))
        #expect(try await eventually { rig.status("web") == .running })
        return rig
    }

    /// The status as the API would show it.
    func status(_ name: String) -> ServiceStatus? {
        ServiceName(name).flatMap { manager.services[$0]?.snapshot.status }
    }

    /// What is on disk of a service, with the record without its suffix.
    func files(_ name: String) -> [String] {
        let unit = FakeSystemd.unit(name)
        let places = [
            ("unit", layout.unitDirectory + "/" + unit),
            ("link", layout.unitDirectory + "/multi-user.target.wants/" + unit),
            ("environment", layout.environmentDirectory + "/\(name).env"),
            ("record", layout.recordDirectory + "/\(name).json"),
        ]
        return places.filter { (try? FileManager.default.attributesOfItem(atPath: $0.1)) != nil }.map(\.0)
    }

    /// The record on disk.
    func record(_ name: String) throws -> ServiceRecord? {
        // Loading all removes temporary files, one of which may just be written.
        if let data = FileManager.default.contents(atPath: layout.recordDirectory + "/\(name).json") {
            return try RecordCoding.decode(Array(data))
        }
        return try RecordStore(layout).load().records.first { $0.spec.name.description == name }
    }
}

/// What a call that runs beside the test has ended with.
@EventLoopActor
final class Outcome<Value: Sendable> {
    private let results = Arrivals<Result<Value, ControlError>>()

    init(_ call: @escaping @EventLoopActor () async throws(ControlError) -> Value) {
        EventLoop.start { [results] in
            do throws(ControlError) {
                results.add(.success(try await call()))
            } catch {
                results.add(.failure(error))
            }
        }
    }

    var hasEnded: Bool { !results.all.isEmpty }

    func value() async throws -> Value { try await results.next().get() }

    func error() async throws -> ControlError? {
        guard case .failure(let error) = try await results.next() else { return nil }
        return error
    }
}
