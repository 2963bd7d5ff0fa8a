/// The figures of a service's runs that outlive them: kept over a restart of the agent and a reboot.
public struct ServiceRun: Equatable, Sendable {
    /// When the newest run began.
    public var startedAt: Timestamp?
    /// When and how the newest run that has ended did.
    public var exitedAt: Timestamp?
    /// Whether the newest run's main process ended with exit code 0 by itself while others of the run were there.
    public var leftProcesses = false
    /// Whether the output of the newest run is discarded: journald could not be reached when it began.
    public var isOutputDiscarded = false
    @Narrow<UInt32> public var restarts: Int = 0
    public var ending: RunEnding?
    /// systemd's word for that end.
    public var result: String?
    /// Which run and which boot the figures speak of.
    public var invocationID: String?
    public var bootID: String?
    /// The main processes of the newest runs, the newest last: by them lines in the journal are known that have lost
    /// their unit.
    public private(set) var processes: [Process] = []

    public init() {}

    /// The main process of a run.
    public struct Process: Equatable, Sendable {
        public var pid: Int
        public var startedAt: Timestamp

        public init(pid: Int, startedAt: Timestamp) {
            self.pid = pid
            self.startedAt = startedAt
        }
    }

    /// So many main processes are remembered.
    public static let processesLimit = 32

    /// Remembers a main process, and forgets the oldest where there are too many.
    public mutating func remember(_ process: Process) {
        guard processes.last != process else { return }
        processes.append(process)
        if processes.count > Self.processesLimit { processes.removeFirst() }
    }

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
        if startedAt != self.startedAt {
            leftProcesses = false
            isOutputDiscarded = false
        }
        if state.launchMark?.step == .journal { isOutputDiscarded = true }
        self.startedAt = startedAt
        self.bootID = bootID
        restarts = state.restarts
        if let invocationID = state.invocationID { self.invocationID = invocationID }
        if let pid = state.main.pid { remember(Process(pid: pid, startedAt: startedAt)) }
        if let ending = state.main.ending, let exitedAt = state.main.exitedAt {
            // "success" later on for the same end only says that the failure was reset.
            if exitedAt != self.exitedAt || state.result != "success" { result = state.result }
            self.ending = ending
            self.exitedAt = exitedAt
        }
    }
}
