/// Data about the runs of a service that is kept over a restart of the agent and a reboot.
public struct ServiceRun: Equatable, Sendable {
    /// When the newest run began.
    public var startedAt: Timestamp?
    /// When the newest ended run has ended.
    public var exitedAt: Timestamp?
    /// Whether the main process of the newest run ended with exit code 0 by itself while the run had other processes.
    public var leftProcesses = false
    /// Whether the output of the newest run is discarded: journald was not reachable when it began.
    public var isOutputDiscarded = false
    /// Whether a stop job that the agent did not queue has ended the newest run.
    public var wasStopped = false
    /// Whether the newest run had a main process: a control process before it can fail.
    public var hasMainProcess = true
    /// Whether the newest main process is known to have ended. The times do not tell: the clock can be set back.
    public private(set) var hasEnded = true
    @Narrow<UInt32> public var restarts: Int = 0
    public var ending: RunEnding?
    /// systemd's `Result` of that end.
    public var result: String?
    /// The run and the boot that the data is about.
    public var invocationID: String?
    public var bootID: String?
    /// Whether the newest run has ended and its record (``EndedRun``) is written, or is about to be. True before the
    /// first run.
    public var isRecorded = true
    /// Nil for a run without drop-ins and changed fields.
    public var conditions: RunConditions?
    /// The main processes of the newest runs, the newest last: they identify journal lines that have no unit field.
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

    /// The number of main processes that are kept, the newest ones.
    public static let processesLimit = 32

    /// Adds a main process, and drops the oldest beyond the limit.
    public mutating func remember(_ process: Process) {
        guard processes.last != process else { return }
        processes.append(process)
        if processes.count > Self.processesLimit { processes.removeFirst() }
    }

    /// The end of a run that was found in the journal afterwards.
    public struct End: Equatable, Sendable {
        public var at: Timestamp
        /// Nil if unknown.
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

    /// The data as stored in a record. `hasEnded` is nil in records of version 0.1.0.
    public init(startedAt: Timestamp?, exitedAt: Timestamp?, ending: RunEnding?, result: String?, hasEnded: Bool?) {
        self.startedAt = startedAt
        self.exitedAt = exitedAt
        self.ending = ending
        self.result = result
        let isExitLater = startedAt.map { startedAt in exitedAt.map { $0 >= startedAt } ?? false }
        self.hasEnded = hasEnded ?? isExitLater ?? true
    }

    /// Applies the end of a run that systemd does not report any more: it is the newest run unless systemd reports a
    /// later one.
    public mutating func observe(_ end: End, before state: UnitState) {
        // systemd reports a later end.
        if state.main.ending != nil { return }
        exitedAt = end.at
        ending = end.ending
        result = end.result
        guard state.main.startedAt == nil else { return }
        hasEnded = true
        wasStopped = end.wasStopped
    }

    /// Marks the newest run as ended in an unknown way. The data of earlier ends is not about it.
    public mutating func loseEnd() {
        hasEnded = true
        exitedAt = nil
        ending = nil
        result = nil
    }

    /// Applies a state of the unit. The end of the last run is kept while the next run is active, unless it belongs to
    /// an earlier run: then the last end was missed.
    public mutating func observe(_ state: UnitState, bootID: String) {
        let hasRun = state.activeState != .inactive || state.main.startedAt != startedAt
        if let id = state.invocationID, id != invocationID, hasRun {
            // Nil in a record of the first run.
            let isFirst = invocationID == nil
            invocationID = id
            self.bootID = bootID
            isRecorded = false
            conditions = nil
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
            // A later "success" for the same end only means that the failure was reset (reset-failed).
            if exitedAt != self.exitedAt || state.result != "success" { result = state.result }
            self.ending = ending
            self.exitedAt = exitedAt
            hasEnded = true
        }
    }

    /// A run that failed before its main process has no exit code.
    private mutating func observeFailure(_ state: UnitState) {
        guard state.activeState == .failed, !hasMainProcess else { return }
        ending = nil
        result = state.result
    }

    /// Whether a client sees no difference.
    public func looksLike(_ other: ServiceRun) -> Bool {
        var run = self
        run.isRecorded = other.isRecorded
        return run == other
    }

    private mutating func forgetRun() {
        leftProcesses = false
        isOutputDiscarded = false
        wasStopped = false
    }
}
