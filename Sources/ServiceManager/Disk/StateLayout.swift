/// The paths of the agent's files.
public struct StateLayout: Equatable, Sendable {
    /// Records and environment files; only root may enter it.
    public let stateDirectory: String
    /// The directory of the administrator's unit files, in which the agent writes its own.
    public let unitDirectory: String
    /// The directories that systemd searches for unit files and drop-ins, highest precedence first: systemd.unit(5),
    /// "Unit File Load Path".
    public let unitPath: [String]

    public init(stateDirectory: String, unitDirectory: String, unitPath: [String] = StateLayout.systemUnitPath) {
        self.stateDirectory = stateDirectory
        self.unitDirectory = unitDirectory
        self.unitPath = unitPath
    }

    /// The directories of the unit path that are watched: those that a person changes while systemd runs. The
    /// directories of generators and transient units change with systemd's own work.
    var watchedUnitPath: [String] {
        unitPath.filter { path in
            let isOfSystemd = ["/transient", "/generator", "/generator.early", "/generator.late"].contains {
                path.hasSuffix($0)
            }
            return !isOfSystemd && !path.hasPrefix("/usr/")
        }
    }

    public static let systemUnitPath = [
        "/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient",
        "/run/systemd/generator.early", "/etc/systemd/system", "/etc/systemd/system.attached", "/run/systemd/system",
        "/run/systemd/system.attached", "/run/systemd/generator", "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system", "/run/systemd/generator.late",
    ]

    var recordDirectory: String { stateDirectory + "/services" }
    var environmentDirectory: String { stateDirectory + "/environment" }
    var removedDirectory: String { stateDirectory + "/removed" }
    var runDirectory: String { stateDirectory + "/runs" }
    var answerDirectory: String { stateDirectory + "/answers" }
}
