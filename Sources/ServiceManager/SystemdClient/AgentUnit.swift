public import Systemd

/// A unit of the agent, as systemd has it loaded: what its next start gets, and what has become of it.
public struct AgentUnit: Sendable {
    /// `loaded`, `not-found`, `masked`, `bad-setting` or `error`.
    public private(set) var loadState = ""
    public private(set) var activeState = ""
    /// The `Result` of the last run: `success`, `exit-code`, `resources`, …
    public private(set) var result = ""
    /// Whether the conditions of the last start were met.
    public private(set) var conditionResult = true
    public private(set) var unitFileState = ""
    public private(set) var mainPID = 0
    public private(set) var fragmentPath = ""
    public private(set) var dropIns: [String] = []
    /// Whether a file of the unit has changed since systemd read it.
    public private(set) var needsReload = false
    /// ExecStart=, with the program as the first.
    public private(set) var arguments: [String] = []
    /// Environment=, each as NAME=VALUE.
    public private(set) var environment: [String] = []
    /// EnvironmentFile=, and whether the file may be missing.
    public private(set) var environmentFiles: [(path: String, mayBeMissing: Bool)] = []
    /// LoadCredential=: the id, and the path of a file or the name of a system credential.
    public private(set) var loadedCredentials: [(id: String, source: String)] = []
    /// SetCredential=.
    public private(set) var setCredentials: [(id: String, value: [UInt8])] = []
    public private(set) var readWritePaths: [String] = []
    /// `strict` leaves only ``readWritePaths`` and the state directory writable.
    public private(set) var protectSystem = ""
    /// The units that start this one.
    public private(set) var triggeredBy: [String] = []
    /// The stream addresses of a socket unit.
    public private(set) var streams: [String] = []
    /// The version of systemd: 252 for "252.39-1~deb12u1". Nil if it has none.
    public private(set) var systemdVersion: Int?

    /// Asks systemd for a unit, which it loads if it has not yet. Throws when systemd cannot be asked.
    @EventLoopActor
    public static func load(
        _ name: String,
        socketPath: String = "/run/systemd/private"
    ) async throws(BusError) -> AgentUnit {
        let bus: Bus
        do throws(SystemError) {
            bus = try Bus(connectingTo: socketPath) {}
        } catch {
            throw .local(error)
        }
        let manager = "org.freedesktop.systemd1"
        let load = BusMethod(path: "/org/freedesktop/systemd1", interface: "\(manager).Manager", member: "LoadUnit")
        let path = try await bus.call(load) { writer throws(SystemError) in
            try writer.string(name)
        } decode: { reply throws(SystemError) in
            try reply.string()
        }
        // The properties of all interfaces of the unit, and those of the manager.
        var unit = try await properties(of: path, "", bus)
        unit.systemdVersion = try await properties(of: load.path, load.interface, bus).systemdVersion
        return unit
    }

    @EventLoopActor
    private static func properties(
        of path: String,
        _ interface: String,
        _ bus: Bus
    ) async throws(BusError) -> AgentUnit {
        let getAll = BusMethod(path: path, interface: "org.freedesktop.DBus.Properties", member: "GetAll")
        return try await bus.call(getAll) { writer throws(SystemError) in
            try writer.string(interface)
        } decode: { reply throws(SystemError) in
            var unit = AgentUnit()
            try reply.properties { name throws(SystemError) in try unit.read(name, reply) }
            return unit
        }
    }

    /// Reads a property; false for one that is not of interest.
    private mutating func read(_ name: String, _ reply: borrowing MessageReader) throws(SystemError) -> Bool {
        switch name {
        case "Version": systemdVersion = Int(try reply.string().prefix { ("0"..."9").contains($0) })
        case "LoadState": loadState = try reply.string()
        case "ActiveState": activeState = try reply.string()
        case "Result": result = try reply.string()
        case "ConditionResult": conditionResult = try reply.bool()
        case "UnitFileState": unitFileState = try reply.string()
        case "MainPID": mainPID = Int(try reply.uint32())
        case "FragmentPath": fragmentPath = try reply.string()
        case "DropInPaths": dropIns = try Self.strings(reply)
        case "NeedDaemonReload": needsReload = try reply.bool()
        case "Environment": environment = try Self.strings(reply)
        case "ReadWritePaths": readWritePaths = try Self.strings(reply)
        case "ProtectSystem": protectSystem = try reply.string()
        case "TriggeredBy": triggeredBy = try Self.strings(reply)
        case "EnvironmentFiles":
            try reply.array(of: "(sb)") { () throws(SystemError) in
                try reply.structure(of: "sb") { () throws(SystemError) in
                    environmentFiles.append((try reply.string(), try reply.bool()))
                }
            }
        case "LoadCredential":
            try reply.array(of: "(ss)") { () throws(SystemError) in
                try reply.structure(of: "ss") { () throws(SystemError) in
                    loadedCredentials.append((try reply.string(), try reply.string()))
                }
            }
        case "SetCredential":
            try reply.array(of: "(say)") { () throws(SystemError) in
                try reply.structure(of: "say") { () throws(SystemError) in
                    setCredentials.append((try reply.string(), try reply.bytes()))
                }
            }
        case "Listen":
            try reply.array(of: "(ss)") { () throws(SystemError) in
                try reply.structure(of: "ss") { () throws(SystemError) in
                    let kind = try reply.string()
                    let address = try reply.string()
                    if kind == "Stream" { streams.append(address) }
                }
            }
        case "ExecStart":
            try reply.array(of: "(sasbttttuii)") { () throws(SystemError) in
                try reply.structure(of: "sasbttttuii") { () throws(SystemError) in
                    _ = try reply.string()
                    arguments = try Self.strings(reply)
                    for _ in 0..<8 { try reply.skip() }
                }
            }
        default: return false
        }
        return true
    }

    private static func strings(_ reply: borrowing MessageReader) throws(SystemError) -> [String] {
        var strings: [String] = []
        try reply.array(of: "s") { () throws(SystemError) in strings.append(try reply.string()) }
        return strings
    }
}
