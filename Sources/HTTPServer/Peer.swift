public import Systemd

/// Who is at the other end of a connection.
public enum Peer: Sendable {
    /// A process on this machine, as the kernel saw it connect.
    case unix(PeerCredentials)
    /// A TCP client, and where it is; nil when it had gone before that could be asked.
    case tcp(String?)
    /// A machine at the other end of an AF_VSOCK connection, by its context id; nil as above.
    case vsock(ContextID?)

    /// Whether the peer was let in by the mode of a socket, or owns the machine. Anybody could be another one.
    var isTrusted: Bool {
        switch self {
        case .unix: true
        case .tcp: false
        case .vsock(let machine): machine == .host
        }
    }
}
