/// The record of a run that has ended.
public struct EndedRun: Equatable, Sendable {
    /// Counts the runs of a service that have ended, from 1.
    public var number: Int
    public var invocationID: String?
    public var bootID: String?
    /// When the main process began; nil for a run that did not come to it.
    public var startedAt: Timestamp?
    /// Nil when the end was not observed and the journal does not have it.
    public var endedAt: Timestamp?
    public var ending: RunEnding?
    /// systemd's `Result`.
    public var result: String?
    public var cause: Cause
    /// Whether systemd starts the service again by itself.
    public var isRestarted: Bool
    /// The most memory that the run has used, in bytes. Nil if it is not known.
    public var memoryPeak: Int?
    /// The processor time of all processes of the run, in milliseconds. Nil if it is not known.
    public var cpuMilliseconds: Int?
    /// CLOCK_REALTIME minus CLOCK_BOOTTIME at the end, in microseconds: it changes when the clock is set, and not while
    /// it is adjusted.
    public var clockOffset: Int?
    public var conditions: RunConditions?
    /// False for a run of which the agent has not observed the begin, and for conditions that are too long for a
    /// record.
    public var areConditionsKnown = true
    /// What held the port of the service when a run with a port exited with an error.
    public var portHolder: String?

    /// The number of records that a service has, the newest ones.
    public static let countLimit = 20

    /// Why a run has ended.
    public enum Cause: String, CaseIterable, Sendable {
        case exited
        case signal
        /// By a stop or a deletion, on request or by another client of systemd.
        case stopped
        /// By a restart on request, for another run.
        case replaced
        case oomLimit = "oom-limit"
        case oomMachine = "oom-machine"
        case timeout
        /// The run did not come to its command.
        case startFailed = "start-failed"
        case watchdog
        /// With the machine.
        case powerOff = "power-off"
        case unknown
    }

    /// What has made a run end, besides itself.
    public enum Request: Sendable {
        case stop
        case restart
        case powerOff
    }

    /// What the journal tells of an end, where systemd's properties leave it open.
    public struct Evidence: Equatable, Sendable {
        /// Whose memory ran out, for the result `oom-kill`.
        public var outOfMemory: RunDiagnosis.OutOfMemory?
        /// Whether systemd or the launcher could not set up the process, for an exit code of 200 or above.
        public var isSetUpFailure = false

        public init() {}
    }

    /// The record of a run of which `ServiceRun` has the data. `now` is the end of a run without a main process.
    public init(_ run: ServiceRun, isRestarted: Bool, now: Timestamp) {
        number = 0
        invocationID = run.invocationID
        bootID = run.bootID
        startedAt = run.hasMainProcess ? run.startedAt : nil
        endedAt = run.hasMainProcess ? run.exitedAt : now
        // Else it is the end of an earlier run.
        ending = run.hasMainProcess ? run.ending : nil
        result = run.result
        cause = .unknown
        self.isRestarted = isRestarted
        conditions = run.conditions
    }

    /// A record as it is stored.
    public init(number: Int, cause: Cause, isRestarted: Bool) {
        self.number = number
        self.cause = cause
        self.isRestarted = isRestarted
    }

    /// Determines the cause.
    public mutating func conclude(_ request: Request?, _ evidence: Evidence, hasMainProcess: Bool) {
        cause = Self.cause(request, evidence, ending, result, hasMainProcess: hasMainProcess)
    }

    private static func cause(
        _ request: Request?,
        _ evidence: Evidence,
        _ ending: RunEnding?,
        _ result: String?,
        hasMainProcess: Bool
    ) -> Cause {
        switch request {
        case .powerOff: return .powerOff
        case .restart: return .replaced
        case .stop: return .stopped
        case nil: break
        }
        switch result {
        case "oom-kill":
            switch evidence.outOfMemory {
            case .serviceLimit, .sliceLimit: return .oomLimit
            case .machine: return .oomMachine
            case nil: return .unknown
            }
        case "timeout": return .timeout
        case "watchdog": return .watchdog
        case "resources", "protocol": return .startFailed
        default: break
        }
        guard hasMainProcess, !evidence.isSetUpFailure else { return .startFailed }
        switch ending {
        case .exited: return .exited
        case .killed: return .signal
        case nil: return .unknown
        }
    }
}

/// What a run began with that can differ from the run before.
public final class RunConditions: Equatable, Sendable {
    /// The fields of the spec that had changed since the run before.
    public let changedFields: [String]
    /// The drop-ins of the unit.
    public let dropIns: [DropIn]

    /// A drop-in and a hash of its content.
    public struct DropIn: Equatable, Sendable {
        public let path: String
        public let hash: UInt64

        public init(path: String, hash: UInt64) {
            self.path = path
            self.hash = hash
        }
    }

    public init(changedFields: [String], dropIns: [DropIn]) {
        self.changedFields = changedFields
        self.dropIns = dropIns
    }

    public static func == (left: RunConditions, right: RunConditions) -> Bool {
        left.changedFields == right.changedFields && left.dropIns == right.dropIns
    }
}

/// What differs between a run and the one before.
public struct RunChanges: Equatable, Sendable {
    /// The fields of the spec.
    public var fields: [String]
    /// The paths of drop-ins that were added, changed or removed.
    public var dropIns: [String]
    /// Whether the machine has booted.
    public var isOtherBoot: Bool
    /// By how many seconds the clock was set forward, or back if negative; nil for at most one second, and after a
    /// boot.
    public var clockSeconds: Int?
    /// The packages that dpkg(1) has installed, upgraded or removed in between.
    public var packages: [String] = []

    public init(from before: EndedRun, to run: EndedRun) {
        fields = run.conditions?.changedFields ?? []
        let isKnown = before.areConditionsKnown && run.areConditionsKnown
        let old = isKnown ? before.conditions?.dropIns ?? [] : []
        let new = isKnown ? run.conditions?.dropIns ?? [] : []
        let changed =
            new.filter { !old.contains($0) } + old.filter { former in !new.contains { $0.path == former.path } }
        dropIns = changed.map(\.path).sorted()
        isOtherBoot = before.bootID != run.bootID
        guard !isOtherBoot, let first = before.clockOffset, let second = run.clockOffset else { return }
        let seconds = (second - first) / 1_000_000
        if abs(second - first) > 1_000_000 { clockSeconds = seconds }
    }
}

/// One run with what was kept about it elsewhere.
public struct RunDetails: Equatable, Sendable {
    public var run: EndedRun
    /// The last lines of its log, as many as ``logLinesLimit``.
    public var log: [String] = []
    /// The report of systemd-coredump(8), with the stack of each thread; nil for none.
    public var coreDump: String?
    /// Nil for the first run that is kept.
    public var changes: RunChanges?

    public static let logLinesLimit = 100

    public init(run: EndedRun) { self.run = run }
}
