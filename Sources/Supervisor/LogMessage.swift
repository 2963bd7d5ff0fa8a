/// Something that happened which whoever runs the machine should read; the daemon logs it.
public struct LogMessage: Sendable {
    public enum Severity: Sendable {
        case information
        case warning
        case error
    }

    public let severity: Severity
    /// "cannot <do what>: <why>", or what was done.
    public let text: String
    /// The service that it is about, where it is about one.
    public let service: String?
}
