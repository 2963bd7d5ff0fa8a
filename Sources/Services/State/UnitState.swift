/// The state of a unit as reported by systemd, in its own words: org.freedesktop.systemd1(5).
///
/// The initial value is that of a unit which is not loaded.
public struct UnitState: Equatable, Sendable {
    public var activeState = ActiveState.inactive
    public var subState = "dead"
    /// The unit's `Result`: "success", "exit-code", "signal", "oom-kill", "timeout" …
    public var result = "success"
    public var invocationID: String?
    public var main = MainProcess()
    /// The main process now; nil when there is none.
    @NarrowPID public var mainPID: Int? = nil
    @Narrow<UInt32> public var restarts: Int = 0
    /// Whether the main process is still the launcher and has not executed the command yet. systemd reports the unit as
    /// active by then.
    public var isLaunching = false
    /// Whether the unit's processes are frozen, or about to be: the property `FreezerState`.
    public var isFrozen = false
    /// The launcher's message about the run.
    public var launchMark: LaunchMark?

    public init() {}

    /// Whether an automatic restart is pending: `auto-restart`, from version 254 on also `auto-restart-queued`.
    public var isAutoRestarting: Bool { activeState == .activating && subState.utf8.starts(with: "auto-restart".utf8) }

    /// Whether the unit is between the end of a run and the main process of the next one, which systemd starts by
    /// itself: also while the commands before that are at work.
    public var isRestarting: Bool {
        isAutoRestarting || activeState == .activating && restarts > 0 && subState.utf8.elementsEqual("start-pre".utf8)
    }

    /// The main process of the newest run, running or ended: the unit's `ExecMain…` properties.
    public struct MainProcess: Equatable, Sendable {
        public var startedAt: Timestamp?
        public var exitedAt: Timestamp?
        /// 0 while it runs, else a `CLD_…` code of waitid(2).
        @Narrow<Int8> public var code: Int = 0
        @NarrowPID public var pid: Int? = nil
        /// The exit status, or the number of the signal.
        @Narrow<Int32> public var status: Int = 0

        public init() {}

        /// How it ended; nil while it runs or if there was none.
        public var ending: RunEnding? {
            switch code {
            case 1: .exited(status)
            case 2, 3: .killed(signal: status)
            default: nil
            }
        }
    }
}

/// The `ActiveState` of a unit, unchanged: newer versions of systemd add values.
public struct ActiveState: RawRepresentable, Hashable, Sendable {
    public let rawValue: String

    public init(rawValue: String) { self.rawValue = rawValue }

    /// Not a value of systemd's: the state has not been reported yet.
    public static let unknown = ActiveState(rawValue: "unknown")
    public static let active = ActiveState(rawValue: "active")
    public static let reloading = ActiveState(rawValue: "reloading")
    public static let inactive = ActiveState(rawValue: "inactive")
    public static let failed = ActiveState(rawValue: "failed")
    public static let activating = ActiveState(rawValue: "activating")
    public static let deactivating = ActiveState(rawValue: "deactivating")
}

/// How a process ended.
public enum RunEnding: Hashable, Sendable {
    case exited(Int)
    case killed(signal: Int)

    /// The exit code as a shell reports it: 128 + the signal's number for a process that a signal ended.
    public var exitCode: Int {
        switch self {
        case .exited(let code): code
        case .killed(let signal): 128 + signal
        }
    }

    /// The signal's name; nil for a process that exited.
    public var signalName: String? {
        guard case .killed(let signal) = self else { return nil }
        return SignalName.name(of: signal)
    }
}
