public import Systemd

/// Who is at the other end of a connection.
public enum Peer: Sendable {
    /// A process on this machine, as the kernel saw it connect.
    case unix(PeerCredentials)
    /// A TCP client.
    case tcp
}
