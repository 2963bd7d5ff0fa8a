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

    /// How a run ended, where that was learned afterwards.
    public struct End: Equatable, Sendable {
        public var at: Timestamp
        /// Nil when nobody knows.
        public var ending: RunEnding?
        public var result: String

        public init(at: Timestamp, ending: RunEnding?, result: String) {
            self.at = at
            self.ending = ending
            self.result = result
        }
    }

    /// Whether the newest run is known to have ended.
    public var hasEnded: Bool {
        guard let startedAt else { return true }
        return exitedAt.map { $0 >= startedAt } ?? false
    }

    /// Takes over the end of an earlier run, while systemd already speaks of the next.
    public mutating func observe(_ end: End, before state: UnitState) {
        // systemd knows of a later end itself.
        if let exitedAt = state.main.exitedAt, exitedAt >= end.at { return }
        exitedAt = end.at
        ending = end.ending
        result = end.result
    }

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
