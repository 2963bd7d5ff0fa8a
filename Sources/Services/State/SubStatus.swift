/// A more detailed status, for people and dashboards.
public enum SubStatus: String, CaseIterable, Sendable {
    /// The unit is frozen: FreezeUnit of org.freedesktop.systemd1(5).
    case paused
    /// It is being stopped and still has processes.
    case stopping
    /// It ends repeatedly and systemd restarts it: ``CrashLoop``.
    case crashLooping = "crash-looping"
    /// It has ended, and an automatic restart is pending, or its ``ServiceSpec/preStart`` is at work.
    case restarting
    /// The unit differs from the record: ``Drift``.
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
        if status == .starting, state.isRestarting { return .restarting }
        return service.drift == nil ? nil : .drifted
    }
}

/// A crash loop: repeated unexpected ends of a service.
public struct CrashLoop: Equatable, Sendable {
    /// The number of ends since the service last ran for ``steadySeconds``.
    public var ends: Int
    /// The diagnosis of the run that was the newest when the loop was detected.
    public var diagnosis: RunDiagnosis?

    public init(ends: Int, diagnosis: RunDiagnosis? = nil) {
        self.ends = ends
        self.diagnosis = diagnosis
    }

    /// The number of ends within ``windowSeconds`` that make a loop.
    public static let endsLimit = 3
    public static let windowSeconds = 60
    /// The number of ends within the interval of the start limit that make a loop: half of its starts, at least two.
    public static func burstEndsLimit(_ limit: RestartLimit) -> Int { max(2, limit.starts / 2) }
    /// A run of this length ends the loop.
    public static let steadySeconds = 60
}
