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
    /// Whether a stop job that the agent did not ask for has ended the newest run.
    public var wasStopped = false
    /// Whether the newest run has come to its main process: a command in front of it can fail.
    public var hasMainProcess = true
    /// Whether the newest main process is known to have ended. The times do not tell: a clock can be put back.
    public private(set) var hasEnded = true
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
        /// Whether a stop job has ended it.
        public var wasStopped = false

        public init(at: Timestamp, ending: RunEnding?, result: String) {
            self.at = at
            self.ending = ending
            self.result = result
        }
    }

    /// The figures as a record has them. `hasEnded` is nil in those of version 0.1.0.
    public init(startedAt: Timestamp?, exitedAt: Timestamp?, ending: RunEnding?, result: String?, hasEnded: Bool?) {
        self.startedAt = startedAt
        self.exitedAt = exitedAt
        self.ending = ending
        self.result = result
        let isExitLater = startedAt.map { startedAt in exitedAt.map { $0 >= startedAt } ?? false }
        self.hasEnded = hasEnded ?? isExitLater ?? true
    }

    /// Takes over the end of a run that systemd does not speak of any more: the newest one where systemd knows of no
    /// later one, else an earlier one.
    public mutating func observe(_ end: End, before state: UnitState) {
        // systemd knows of a later end itself.
        if state.main.ending != nil { return }
        exitedAt = end.at
        ending = end.ending
        result = end.result
        guard state.main.startedAt == nil else { return }
        hasEnded = true
        wasStopped = end.wasStopped
    }

    /// Takes note that the newest run has ended, and that nothing tells how. The figures of earlier runs are not its.
    public mutating func loseEnd() {
        hasEnded = true
        exitedAt = nil
        ending = nil
        result = nil
    }

    /// Takes over what systemd says now. Figures of an ended run stay while the next one runs, unless they are not
    /// those of the run before: its end was missed then.
    public mutating func observe(_ state: UnitState, bootID: String) {
        let hasRun = state.activeState != .inactive || state.main.startedAt != startedAt
        if let id = state.invocationID, id != invocationID, hasRun {
            // Nil in a record of the first run.
            let isFirst = invocationID == nil
            invocationID = id
            self.bootID = bootID
            if !isFirst || startedAt == nil {
                forgetRun()
                hasMainProcess = false
            }
        }
        guard let startedAt = state.main.startedAt else { return observeFailure(state) }
        if startedAt != self.startedAt {
            if !hasEnded { loseEnd() }
            if hasMainProcess { forgetRun() }
            hasMainProcess = true
            hasEnded = false
        }
        if state.launchMark?.step == .journal { isOutputDiscarded = true }
        self.startedAt = startedAt
        self.bootID = bootID
        restarts = state.restarts
        if let pid = state.main.pid { remember(Process(pid: pid, startedAt: startedAt)) }
        guard hasMainProcess else { return observeFailure(state) }
        if let ending = state.main.ending, let exitedAt = state.main.exitedAt {
            // "success" later on for the same end only says that the failure was reset.
            if exitedAt != self.exitedAt || state.result != "success" { result = state.result }
            self.ending = ending
            self.exitedAt = exitedAt
            hasEnded = true
        }
    }

    /// A run that has failed before it came to its main process has no exit code.
    private mutating func observeFailure(_ state: UnitState) {
        guard state.activeState == .failed, !hasMainProcess else { return }
        ending = nil
        result = state.result
    }

    private mutating func forgetRun() {
        leftProcesses = false
        isOutputDiscarded = false
        wasStopped = false
    }
}
