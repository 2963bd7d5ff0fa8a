internal import Services
internal import Systemd

/// A message for the journal: what happened, for the administrator of the machine.
public struct LogMessage: Sendable {
    public enum Severity: Sendable {
        case information
        case warning
        case error
    }

    public let severity: Severity
    /// "cannot <do what>: <why>", or what was done.
    public let text: String
    /// The name of the service that the message is about; nil for none.
    public let service: String?
}

/// Writes messages for the journal.
struct MessageLog {
    let report: @EventLoopActor (LogMessage) -> Void

    @EventLoopActor
    func notice(_ severity: LogMessage.Severity, _ text: String, _ service: ServiceName? = nil) {
        report(LogMessage(severity: severity, text: text, service: service?.description))
    }
}
