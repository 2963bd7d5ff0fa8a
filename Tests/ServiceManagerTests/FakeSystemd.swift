import Systemd
import TestSupport

/// A scripted org.freedesktop.systemd1 on a Unix socket: answers as systemd does, and says what a test has it say.
@EventLoopActor
final class FakeSystemd {
    /// What systemd holds of a unit.
    struct Unit {
        var active = "inactive"
        var sub = "dead"
        var pid: UInt32 = 0 {
            didSet { if oldValue != 0 { lastPID = oldValue } }
        }
        var lastPID: UInt32 = 0
        /// 0 while the process runs, else a `CLD_…` code.
        var code: Int32 = 0
        var status: Int32 = 0
        var startedAt: UInt64 = 0
        var exitedAt: UInt64 = 0
        var result = "success"
        var statusText = ""
        var freezerState = "running"
        var restarts: UInt32 = 0
        var invocation: [UInt8] = []
        var isStale = false
        /// The job that is queued for it; 0 for none.
        var job = 0

        static func running(pid: UInt32, startedAt: UInt64 = UInt64(WallClock.now().microseconds)) -> Unit {
            Unit(
                active: "active",
                sub: "running",
                pid: pid,
                startedAt: startedAt,
                invocation: [UInt8](repeating: UInt8(truncatingIfNeeded: pid), count: 16)
            )
        }

        /// The unit after its process has ended.
        func ended(_ active: String, _ sub: String, code: Int32, status: Int32, result: String) -> Unit {
            var unit = self
            unit.active = active
            unit.sub = sub
            unit.pid = 0
            unit.code = code
            unit.status = status
            unit.exitedAt = startedAt + 1_000_000
            unit.result = result
            return unit
        }
    }

    let socketPath: String
    private let listening: ListeningSocket
    private var watch: IOWatch?
    private var connections: [BusPeer] = []
    private var jobs = 0
    private(set) var journalState = "active"
    var systemState = "running"
    /// What each unit has used.
    static let cpuNanoseconds: UInt64 = 7_000_000
    static let memoryPeak: UInt64 = 4096
    /// The jobs that have not ended, by unit.
    private var queued: [String: Int] = [:]
    private var later: [@EventLoopActor () -> Void] = []
    private var deferral: Deferral?

    /// The units that are loaded.
    var units: [String: Unit] = [:]
    /// What a method does in place of the usual; nil is the usual.
    var script: @EventLoopActor (BusPeer.Call) -> BusPeer.Answer? = { _ in nil }
    /// The calls of systemd's own methods, in order, most of them with their first argument:
    /// "StartUnit miosa-service-web.service".
    let calls = Arrivals<String>()

    init(_ socketPath: String) throws {
        self.socketPath = socketPath
        listening = try ListeningSocket.open(.unix(path: socketPath))
        watch = try listening.watch { [weak self] _ in self?.accept() }
        deferral = try Deferral { [weak self] in self?.runLater() }
    }

    /// Whether new connections are taken, or wait.
    var takesConnections = true {
        didSet { watch?.events = takesConnections ? .readable : [] }
    }

    /// Ends all connections.
    func disconnect() {
        for connection in connections { connection.close() }
        connections = []
    }

    /// The calls so far whose method is one of these.
    func calls(of members: String...) -> [String] {
        calls.all.filter { call in members.contains { call.hasPrefix($0 + " ") || call == $0 } }
    }

    // MARK: What systemd says

    /// Says that a unit has a new state: the service's signal, then the unit's.
    func report(_ name: String, _ unit: Unit) {
        let full = Self.unit(name)
        var unit = unit
        unit.job = queued[full] ?? 0
        units[full] = unit
        reportService(name, unit)
        signal("PropertiesChanged", "org.freedesktop.DBus.Properties", path(of: full)) { message in
            message.string("org.freedesktop.systemd1.Unit")
            message.array(of: "{sv}") { Self.writeUnit(unit, message) }
            message.array(of: "s") {}
        }
    }

    /// Queues a job of another client.
    func beginJob(_ name: String) {
        jobs += 1
        queued[Self.unit(name)] = jobs
    }

    /// Says only the first half of it.
    func reportService(_ name: String, _ unit: Unit) {
        signal("PropertiesChanged", "org.freedesktop.DBus.Properties", path(of: Self.unit(name))) { message in
            message.string("org.freedesktop.systemd1.Service")
            message.array(of: "{sv}") { Self.writeService(unit, message) }
            message.array(of: "s") { message.string("ExecStart") }
        }
    }

    static let journal = "systemd-journald.service"

    /// Says that journald's unit has another state.
    func reportJournal(_ state: String) {
        journalState = state
        for interface in ["Service", "Unit"] {
            signal("PropertiesChanged", "org.freedesktop.DBus.Properties", path(of: Self.journal)) { message in
                message.string("org.freedesktop.systemd1.\(interface)")
                message.array(of: "{sv}") {
                    if interface == "Unit" { message.entry("ActiveState", "s") { message.string(state) } }
                }
                message.array(of: "s") {}
            }
        }
    }

    /// Says that a job has ended; the newest one unless another is named.
    func endJob(_ name: String, _ result: String = "done", job: Int? = nil) {
        let number = job ?? jobs
        if queued[Self.unit(name)] == number { loseJob(name) }
        signal("JobRemoved", Self.manager, Self.managerPath) { message in
            message.uint32(UInt32(number))
            message.path(Self.jobPath(number))
            message.string(Self.unit(name))
            message.string(result)
        }
    }

    /// Has a unit's job be gone without a word.
    func loseJob(_ name: String) {
        queued[Self.unit(name)] = nil
        units[Self.unit(name)]?.job = 0
    }

    /// Forgets a unit and says so.
    func unload(_ name: String) {
        units[Self.unit(name)] = nil
        signal("UnitRemoved", Self.manager, Self.managerPath) { message in
            message.string(Self.unit(name))
            message.path(path(of: Self.unit(name)))
        }
    }

    /// Does something after the reply that is being written, as systemd's signals come.
    func afterwards(_ action: @escaping @EventLoopActor () -> Void) {
        later.append(action)
        deferral?.request()
    }

    /// From now on a start runs at once, a stop ends at once, and a restart is both.
    func obey() {
        script = { [weak self] call in
            guard let self, let unit = call.arguments.first else { return nil }
            let name = String(unit.dropFirst("miosa-service-".count).dropLast(".service".count))
            switch call.member {
            case "StartUnit", "RestartUnit":
                let pid = UInt32(1000 + jobs)
                let former = units[unit].flatMap { $0.active == "active" ? $0 : nil }
                afterwards {
                    if let former {
                        self.report(
                            name,
                            former.ended("deactivating", "stop-sigterm", code: 2, status: 15, result: "success")
                        )
                    }
                    self.report(name, .running(pid: pid, startedAt: UInt64(WallClock.now().microseconds)))
                    self.endJob(name, job: self.queued[unit])
                }
            case "StopUnit" where units[unit] != nil:
                let running = units[unit] ?? Unit()
                afterwards {
                    self.report(name, running.ended("inactive", "dead", code: 2, status: 15, result: "success"))
                    self.endJob(name, job: self.queued[unit])
                    self.unload(name)
                }
            default: break
            }
            return nil
        }
    }

    /// From now on a stop ends with the unit as given. `reset` is what comes of it that its failure is to be forgotten.
    func endStops(of name: String, as unit: Unit, reset: @escaping @EventLoopActor () -> Void) {
        script = { [weak self] call in
            if call.member == "ResetFailedUnit" { reset() }
            if call.member == "StopUnit" {
                self?.afterwards {
                    self?.report(name, unit)
                    self?.endJob(name)
                }
            }
            return nil
        }
    }

    // MARK: What systemd is asked

    private static let managerPath = "/org/freedesktop/systemd1"
    private static let manager = "org.freedesktop.systemd1.Manager"
    private static let noSuchUnit = "org.freedesktop.systemd1.NoSuchUnit"

    static func unit(_ name: String) -> String { "miosa-service-\(name).service" }

    func path(of unit: String) -> String {
        guard let path = try? Bus.objectPath(below: Self.managerPath + "/unit", for: unit) else { return "/none" }
        return path
    }

    private func accept() {
        do {
            guard let socket = try listening.accept() else { return }
            connections.append(try BusPeer(taking: socket) { [weak self] in self?.answer($0) ?? .silence })
        } catch {
            preconditionFailure("the scripted systemd cannot take a connection: \(error)")
        }
    }

    private func answer(_ call: BusPeer.Call) -> BusPeer.Answer {
        if call.interface == Self.manager {
            let isWhole = ["KillUnit", "SetUnitProperties"].contains(call.member)
            let arguments = call.arguments.prefix(isWhole ? call.arguments.count : 1)
            calls.add(([call.member] + arguments).joined(separator: " "))
        }
        return script(call) ?? usualAnswer(call)
    }

    private func usualAnswer(_ call: BusPeer.Call) -> BusPeer.Answer {
        let unit = call.arguments.first ?? ""
        switch call.member {
        case "Ping": return .builtIn
        case "StartUnit", "RestartUnit": return newJob(for: unit)
        case "StopUnit": return units[unit] == nil ? notLoaded(unit) : newJob(for: unit)
        case "ResetFailedUnit": return units[unit] == nil ? notLoaded(unit) : .reply { _ in }
        case "Reload", "ThawUnit", "KillUnit", "SetUnitProperties": return .reply { _ in }
        case "RevertUnitFiles": return .reply { message in message.array(of: "(sss)") {} }
        case "GetUnit":
            let path = path(of: unit)
            return units[unit] == nil ? notLoaded(unit) : .reply { $0.path(path) }
        case "Get" where call.arguments.last == "SystemState":
            return .reply { [self] message in message.variant("s") { message.string(systemState) } }
        case "Get" where call.arguments.last == "CPUUsageNSec" || call.arguments.last == "MemoryPeak":
            let figure = call.arguments.last == "MemoryPeak" ? Self.memoryPeak : Self.cpuNanoseconds
            return .reply { message in message.variant("t") { message.uint64(figure) } }
        case "Get" where call.arguments.last == "InvocationID":
            let id = units.first { path(of: $0.key) == call.path }?.value.invocation ?? []
            return .reply { message in message.variant("ay") { message.bytes(id) } }
        case "Get" where call.path == "/org/freedesktop/systemd1":
            return .reply { message in message.variant("s") { message.string("257.1-fake") } }
        case "Get" where call.path == path(of: Self.journal):
            return .reply { [self] message in message.variant("s") { message.string(journalState) } }
        case "Get" where call.arguments.last == "TimeoutStopUSec":
            return .reply { message in message.variant("t") { message.uint64(10_000_000) } }
        case "Get" where call.arguments.last == "ExecStopPost":
            return .reply { message in message.variant("a(sasbttttuii)") { message.array(of: "(sasbttttuii)") {} } }
        case "Get":
            let isStale = units.first { path(of: $0.key) == call.path }?.value.isStale ?? false
            return .reply { message in message.variant("b") { message.bool(isStale) } }
        case "GetAll":
            let unit = units.first { path(of: $0.key) == call.path }?.value ?? Unit()
            return .reply { message in
                message.array(of: "{sv}") {
                    Self.writeUnit(unit, message)
                    Self.writeService(unit, message)
                }
            }
        case "ListUnitsByPatterns": return .reply { [self] in writeList($0) }
        default: return .error(name: "org.freedesktop.DBus.Error.UnknownMethod", message: call.member)
        }
    }

    private func newJob(for unit: String) -> BusPeer.Answer {
        jobs += 1
        queued[unit] = jobs
        units[unit]?.job = jobs
        let path = Self.jobPath(jobs)
        return .reply { $0.path(path) }
    }

    private static func jobPath(_ number: Int) -> String { "\(managerPath)/job/\(number)" }

    private func notLoaded(_ unit: String) -> BusPeer.Answer {
        .error(name: Self.noSuchUnit, message: "Unit \(unit) not loaded.")
    }

    private func writeList(_ message: BusPeer.Outgoing) {
        message.array(of: "(ssssssouso)") {
            for (unit, state) in units.sorted(by: { $0.key < $1.key }) {
                message.structure(of: "ssssssouso") {
                    for text in [unit, "A service", "loaded", state.active, state.sub, ""] { message.string(text) }
                    message.path(path(of: unit))
                    message.uint32(0)
                    message.string("")
                    message.path("/")
                }
            }
        }
    }

    private static func writeUnit(_ unit: Unit, _ message: BusPeer.Outgoing) {
        message.entry("ActiveState", "s") { message.string(unit.active) }
        message.entry("Job", "(uo)") {
            message.structure(of: "uo") {
                message.uint32(UInt32(unit.job))
                message.path(unit.job == 0 ? "/" : jobPath(unit.job))
            }
        }
        message.entry("SubState", "s") { message.string(unit.sub) }
        message.entry("FreezerState", "s") { message.string(unit.freezerState) }
        message.entry("InvocationID", "ay") { message.bytes(unit.invocation) }
    }

    private static func writeService(_ unit: Unit, _ message: BusPeer.Outgoing) {
        message.entry("MainPID", "u") { message.uint32(unit.pid) }
        message.entry("StatusText", "s") { message.string("") }
        message.entry("Result", "s") { message.string(unit.result) }
        message.entry("StatusText", "s") { message.string(unit.statusText) }
        message.entry("NRestarts", "u") { message.uint32(unit.restarts) }
        message.entry("ExecMainStartTimestamp", "t") { message.uint64(unit.startedAt) }
        message.entry("ExecMainExitTimestamp", "t") { message.uint64(unit.exitedAt) }
        message.entry("ExecMainPID", "u") { message.uint32(unit.pid == 0 ? unit.lastPID : unit.pid) }
        message.entry("ExecMainCode", "i") { message.int32(unit.code) }
        message.entry("ExecMainStatus", "i") { message.int32(unit.status) }
    }

    private func signal(
        _ member: String,
        _ interface: String,
        _ path: String,
        _ contents: @EventLoopActor (BusPeer.Outgoing) -> Void
    ) {
        for connection in connections { connection.signal(member, of: interface, path: path, contents) }
    }

    private func runLater() {
        let actions = later
        later = []
        for action in actions { action() }
    }
}
