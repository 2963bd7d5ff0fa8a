/// Why an operation failed. Nothing was changed, unless a case says otherwise.
public enum ControlError: Error, Equatable, Sendable {
    case serviceNotFound
    /// The service has no record of that run.
    case runNotFound
    case serviceExists
    /// A new service may not have the name, with the reason.
    case nameReserved(String)
    /// This version of systemd cannot do what a field asks for.
    case unsupported(field: String, reason: String)
    /// A start of a service that is starting or running.
    case serviceRunning
    /// A stop of a service that is neither starting nor running.
    case serviceNotRunning
    /// The service is not, or not any more, as the request supposes.
    case preconditionFailed
    /// A reload of a service whose spec has no reload signal.
    case noReload
    /// A service was neither ready nor ended in time; with its last log lines, and the other process that holds its
    /// port. The operation before the wait has been carried out.
    case waitTimeout(Service, log: [String], portHolder: String? = nil)
    /// An idempotency key was used for another request.
    case keyReused
    /// The maximum number of services exists.
    case tooManyServices(limit: Int)
    /// systemd cannot be reached.
    case systemdUnavailable(String)
    /// systemd did not carry out the operation in time. It is retried until it is done.
    case systemdTimeout(String)
    /// systemd refuses the job, with its reason.
    case systemdRefused(String)
    /// Another client of systemd has cancelled the job: the request of that client is in effect.
    case superseded
    /// A file could not be written: the disk is full or read-only.
    case storageFull(String)
    /// A file could not be written for another reason.
    case storageFailed(String)
    /// The disk does not answer in time. Once it does, a creation or a change is undone, and a deletion is completed.
    case storageTimeout(String)
    /// The cursor to resume from is not a valid log position.
    case badCursor
    /// The journal has nothing of that boot.
    case bootNotFound
    /// The maximum number of streams is open.
    case tooManyStreams(limit: Int)
    /// The journal cannot be read.
    case journalUnavailable(String)
}
