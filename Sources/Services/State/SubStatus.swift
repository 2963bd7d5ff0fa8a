/// A finer word than the status, for people and dashboards.
public enum SubStatus: String, CaseIterable, Sendable {
    /// The unit is frozen: FreezeUnit of org.freedesktop.systemd1(5).
    case paused
    /// It is being stopped; processes of it are still there.
    case stopping
    /// It ends again and again, and systemd starts it again: ``CrashLoop``.
    case crashLooping = "crash-looping"
    /// It has ended, and systemd is about to start it again.
    case restarting
    /// What runs or will start is not what was asked for: ``Drift``.
    case drifted

    /// The first that applies, in the order of the cases; nil when none does.
    static func of(_ service: Service) -> SubStatus? {
        let state = service.state
        let status = service.status
        let isUp = status == .running || status == .starting
        if state.isFrozen, isUp { return .paused }
        if state.activeState == .deactivating { return .stopping }
        if isUp, [.stopping, .deleting].contains(service.record.phase) { return .stopping }
        if isUp, service.remarks.crashLoop != nil { return .crashLooping }
        if status == .starting, state.isAutoRestarting { return .restarting }
        return service.drift == nil ? nil : .drifted
    }
}

/// Ends of a service that nobody asked for, one after another.
public struct CrashLoop: Equatable, Sendable {
    /// How many there were since it last ran for ``steadySeconds``.
    public var ends: Int
    /// What the journal tells of the run that was the latest when the loop was noticed.
    public var diagnosis: RunDiagnosis?

    public init(ends: Int, diagnosis: RunDiagnosis? = nil) {
        self.ends = ends
        self.diagnosis = diagnosis
    }

    /// This many ends within ``windowSeconds`` are a loop.
    public static let endsLimit = 3
    public static let windowSeconds = 60
    /// So are this many within the interval of the start limit: half of its starts, at least two.
    public static let burstEndsLimit = max(2, UnitFile.startLimitBurst / 2)
    /// A run of this length ends the loop.
    public static let steadySeconds = 60
}
