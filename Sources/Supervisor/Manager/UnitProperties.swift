internal import Services
internal import Systemd

/// Reads the properties of a unit that make up its state, from a PropertiesChanged signal or a GetAll reply.
enum UnitProperties {
    /// Takes over every property that is there: an a{sv} of either interface, or of both. Gives back the path of the
    /// unit's job, "/" where it has none; nil when nothing is said about that.
    @discardableResult
    static func apply(_ reader: borrowing MessageReader, to state: inout UnitState) throws(SystemError) -> String? {
        var changed = state
        var job: String?
        try reader.properties { name throws(SystemError) in
            switch name {
            case "ActiveState": changed.activeState = ActiveState(rawValue: try reader.string())
            case "FreezerState": changed.isFrozen = Self.frozenStates.contains(try reader.string())
            case "SubState": changed.subState = try reader.string()
            case "InvocationID":
                // Sixteen zero bytes, or none, stand for a unit that was never started.
                let id = Identifier(bytes: try reader.bytes())
                changed.invocationID = id.flatMap { $0.isNull ? nil : $0.description }
            case "Job":
                try reader.structure(of: "uo") { () throws(SystemError) in
                    try reader.skip()
                    job = try reader.string()
                }
            case "Result": changed.result = try reader.string()
            case "MainPID":
                let pid = Int(try reader.uint32())
                changed.mainPID = pid == 0 ? nil : pid
            case "StatusText": changed.launchMark = LaunchMark(statusText: try reader.string())
            case "NRestarts": changed.restarts = Int(try reader.uint32())
            case "ExecMainPID":
                let pid = Int(try reader.uint32())
                changed.main.pid = pid == 0 ? nil : pid
            case "ExecMainCode": changed.main.code = Int(try reader.int32())
            case "ExecMainStatus": changed.main.status = Int(try reader.int32())
            case "ExecMainStartTimestamp": changed.main.startedAt = Timestamp(systemd: try reader.uint64())
            case "ExecMainExitTimestamp": changed.main.exitedAt = Timestamp(systemd: try reader.uint64())
            default: return false
            }
            return true
        }
        state = changed
        return job
    }

    /// The values of `FreezerState` of a unit that is frozen, or about to be. Those with a parent are of version 256.
    private static let frozenStates: Set<String> = ["freezing", "frozen", "freezing-by-parent", "frozen-by-parent"]
}
