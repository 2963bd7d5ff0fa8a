internal import Services
internal import Systemd

/// Reads the properties of a unit that make up its state, from a PropertiesChanged signal or a GetAll reply.
enum UnitProperties {
    /// Applies every property that is present: an a{sv} of either interface, or of both. Returns the path of the unit's
    /// job, "/" for none; nil when the message has no `Job`. Throws when the message is not as documented.
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
                // Sixteen zero bytes, or none, mean that the unit was never started.
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

    /// The values of `FreezerState` for a unit that is frozen or being frozen. Those with a parent exist from version
    /// 256 on.
    private static let frozenStates: Set<String> = ["freezing", "frozen", "freezing-by-parent", "frozen-by-parent"]
}
