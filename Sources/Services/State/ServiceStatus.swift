/// The status of a service: one word for a person and for the platform.
public enum ServiceStatus: String, CaseIterable, Sendable {
    case starting
    case running
    case failed
    case stopped
    case removed

    /// Decides the status: from the unit's state, from what was last asked of the service, and from systemd's reason
    /// for not taking the unit at the last start.
    public static func of(
        _ activeState: ActiveState,
        isLaunching: Bool,
        intent: Intent,
        refusal: String?
    ) -> ServiceStatus {
        switch activeState {
        case .activating: .starting
        case .active where isLaunching: .starting
        case .unknown:
            switch intent {
            case .start: .starting
            case .stop: .stopped
            case .none: .running
            }
        case .inactive, .failed:
            switch intent {
            // systemd has the job but has not begun.
            case .start: .starting
            // Whatever the process did on the way out, it was told to stop.
            case .stop: .stopped
            case .none: activeState == .failed || refusal != nil ? .failed : .stopped
            }
        // `active`, `reloading`, `deactivating` until the last process is gone, and what newer versions of systemd add:
        // states of a unit that has processes.
        default: .running
        }
    }

    /// What was asked of a service and has not yet shown in its state.
    public enum Intent: Equatable, Sendable {
        case none
        /// A start job is queued, or to be expected at boot.
        case start
        /// Somebody stopped it on purpose; stays until the next start.
        case stop
    }
}
