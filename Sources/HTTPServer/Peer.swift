public import Systemd

/// The client of a connection, as the application's callbacks get it.
@EventLoopActor
public final class Client {
    public let peer: Peer
    /// The connection's socket; nil when it is closed.
    var socket: DescriptorHolder?
    /// Who it is, in the application's terms. The application sets it for ``Server/close(where:)``.
    public var identity: (any AnyObject & Sendable)?

    init(_ peer: Peer) { self.peer = peer }

    /// The account of a TCP client on this machine; nil for one elsewhere, or whose process has closed its socket.
    public func account() -> UInt32? { socket?.descriptor.peerAccount() }
}

/// The peer of a connection.
public enum Peer: Sendable {
    /// A process on this machine, as the kernel saw it connect.
    case unix(PeerCredentials)
    /// The same on a socket that every account may use.
    case account(PeerCredentials)
    /// A TCP client, by its address; nil when it had disconnected before the address was read.
    case tcp(String?)
    /// A machine that is connected over AF_VSOCK, by its context id; nil as above.
    case vsock(ContextID?)

    /// The uid of a process on a socket that every account may use; nil for other peers.
    var accountID: UInt32? {
        guard case .account(let credentials) = self else { return nil }
        return credentials.uid
    }
}
