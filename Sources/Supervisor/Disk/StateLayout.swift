/// Where things are on disk.
public struct StateLayout: Equatable, Sendable {
    /// Holds the records and environment files; only root may enter it.
    public let stateDirectory: String
    /// Where systemd finds the unit files of the administrator.
    public let unitDirectory: String

    public init(stateDirectory: String, unitDirectory: String) {
        self.stateDirectory = stateDirectory
        self.unitDirectory = unitDirectory
    }

    var recordDirectory: String { stateDirectory + "/services" }
    var environmentDirectory: String { stateDirectory + "/environment" }
    var removedDirectory: String { stateDirectory + "/removed" }
    var answerDirectory: String { stateDirectory + "/answers" }
}
