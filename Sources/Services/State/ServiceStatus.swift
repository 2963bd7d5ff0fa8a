/// The status of a service, one word.
public enum ServiceStatus: String, CaseIterable, Sendable {
    case starting
    case running
    case failed
    case stopped
    case removed

    /// Derives the status from the unit's state, the last request, and systemd's reason for refusing the unit at the
    /// last start. `hasMainProcess` is false for a run that has not come to its command.
    public static func of(
        _ activeState: ActiveState,
        isLaunching: Bool,
        hasMainProcess: Bool = true,
        intent: Intent,
        refusal: String?
    ) -> ServiceStatus {
        switch activeState {
        case .activating: .starting
        case .active where isLaunching: .starting
        // The start has failed, and commands after that are at work.
        case .deactivating where !hasMainProcess: .starting
        case .unknown:
            switch intent {
            case .start: .starting
            case .stop: .stopped
            case .none: .running
            }
        case .inactive, .failed:
            switch intent {
            // The job is queued and not begun.
            case .start: .starting
            // A process that fails while it is stopped on request counts as stopped.
            case .stop: .stopped
            case .none: activeState == .failed || refusal != nil ? .failed : .stopped
            }
        // `active`, `reloading`, `deactivating`, and states that newer versions of systemd add: the unit has processes.
        default: .running
        }
    }

    /// A request that does not show in the unit's state yet.
    public enum Intent: Equatable, Sendable {
        case none
        /// A start job is queued, or expected at boot.
        case start
        /// The service was stopped on request. Kept until the next start.
        case stop
    }
}
