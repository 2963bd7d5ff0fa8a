/// The figures of a service's runs that outlive them: kept over a restart of the agent and a reboot.
public struct ServiceRun: Equatable, Sendable {
    /// When the newest run began.
    public var startedAt: Timestamp?
    /// When and how the newest run that has ended did.
    public var exitedAt: Timestamp?
    public var ending: RunEnding?
    /// systemd's word for that end.
    public var result: String?
    public var restarts = 0
    /// Which run and which boot the figures speak of.
    public var invocationID: String?
    public var bootID: String?

    public init() {}

    /// Takes over what systemd says now. Figures of an ended run stay while the next one runs.
    public mutating func observe(_ state: UnitState, bootID: String) {
        guard let startedAt = state.main.startedAt else { return }
        self.startedAt = startedAt
        self.bootID = bootID
        restarts = state.restarts
        if let invocationID = state.invocationID { self.invocationID = invocationID }
        if let ending = state.main.ending, let exitedAt = state.main.exitedAt {
            // "success" later on for the same end only says that the failure was reset.
            if exitedAt != self.exitedAt || state.result != "success" { result = state.result }
            self.ending = ending
            self.exitedAt = exitedAt
        }
    }
}
