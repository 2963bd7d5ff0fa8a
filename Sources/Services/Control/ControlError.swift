/// Why a call for a service was not carried out. Nothing was changed, unless a case says otherwise.
public enum ControlError: Error, Equatable, Sendable {
    case serviceNotFound
    case serviceExists
    /// A start of a service that is starting or running.
    case serviceRunning
    /// A stop of a service that is neither.
    case serviceNotRunning
    /// A service was neither ready nor ended in time; its last log lines, and what holds its port instead of it. What
    /// was asked for before the wait is done.
    case waitTimeout(Service, log: [String], portHolder: String? = nil)
    /// An idempotency key was used for another request.
    case keyReused
    /// As many services exist as the agent keeps.
    case tooManyServices(limit: Int)
    /// systemd cannot be reached.
    case systemdUnavailable(String)
    /// systemd did not do in time what was asked for. It is tried again until it is done.
    case systemdTimeout(String)
    /// systemd refuses the job, with its reason.
    case systemdRefused(String)
    /// Another client of systemd has cancelled the job: what that one asked for holds.
    case superseded
    /// A file could not be written: the medium is full or read-only.
    case storageFull(String)
    /// A file could not be written for another reason.
    case storageFailed(String)
    /// The disk does not answer in time. A creation or a change is taken back once it does, and what was asked for is
    /// done then where it was a deletion.
    case storageTimeout(String)
    /// The place in a log where reading was to go on is none.
    case badCursor
    /// The journal has nothing of that boot.
    case bootNotFound
    /// As many streams are open as the agent serves.
    case tooManyStreams(limit: Int)
    /// The journal cannot be read.
    case journalUnavailable(String)
}
