/// Where things are on disk.
public struct StateLayout: Equatable, Sendable {
    /// Holds the records and environment files; only root may enter it.
    public let stateDirectory: String
    /// Where systemd finds the unit files of the administrator.
    public let unitDirectory: String
    /// Where systemd looks for unit files and drop-ins, in the order in which one counts before another:
    /// systemd.unit(5), "Unit File Load Path".
    public let unitPath: [String]

    public init(stateDirectory: String, unitDirectory: String, unitPath: [String] = StateLayout.systemUnitPath) {
        self.stateDirectory = stateDirectory
        self.unitDirectory = unitDirectory
        self.unitPath = unitPath
    }

    /// What of the unit path is watched: where a person changes something while systemd runs. Generators and transient
    /// units change with systemd's own work.
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
    var answerDirectory: String { stateDirectory + "/answers" }
}
