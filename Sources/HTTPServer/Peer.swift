public import Systemd

/// Who is at the other end of a connection.
public enum Peer: Sendable {
    /// A process on this machine, as the kernel saw it connect.
    case unix(PeerCredentials)
    /// A TCP client, and where it is; nil when it had gone before that could be asked.
    case tcp(SocketAddress?)

    /// Whether the peer was let in by the mode of a socket. Anybody could be another one.
    var isTrusted: Bool {
        if case .unix = self { true } else { false }
    }
}
