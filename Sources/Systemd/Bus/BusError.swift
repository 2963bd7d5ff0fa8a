/// Why a D-Bus call failed.
public enum BusError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The message could not be made, sent or read, or there was no reply in time: see `isDisconnected` and
    /// `isTimeout`.
    case local(SystemError)
    /// The peer answered with an error: its D-Bus name and its text.
    case remote(name: String, message: String)

    /// The connection is lost, or was never established.
    public var isDisconnected: Bool {
        guard case .local(let error) = self else { return false }
        return error.isDisconnected
    }

    /// No reply came in time.
    public var isTimeout: Bool {
        guard case .local(let error) = self else { return false }
        return error.isTimeout
    }

    public var description: String {
        switch self {
        case .local(let error): error.description
        case .remote(let name, let message): "\(name): \(message)"
        }
    }
}
