public import Services

/// The client of a request.
public enum Caller: Equatable, Sendable {
    /// A process on this machine, as the kernel saw it connect to the Unix socket. `isAdmitted` says whether it is
    /// root's or a member's of the configured group; the file mode of the socket says the same a first time.
    case unix(uid: UInt32, gid: UInt32, pid: Int32, isAdmitted: Bool)
    /// A process on this machine, as the kernel saw it connect to the Unix socket for all accounts; without an account
    /// for a uid that passwd(5) does not have.
    case account(uid: UInt32, pid: Int32, Account?)
    /// A client of a TCP port, which must send the token. `address` is its address, for the log.
    case tcp(address: String)
    /// A machine that connects to the AF_VSOCK port, by its context id; nil when it had disconnected before the id was
    /// read. Only the host is admitted, and must also send the token if there is one.
    case vsock(contextID: UInt32?, isHost: Bool)

    /// The account of a process on this machine.
    var uid: UInt32? {
        switch self {
        case .unix(let uid, _, _, _), .account(let uid, _, _): uid
        case .tcp, .vsock: nil
        }
    }

    /// The client in the audit.
    var auditPeer: AuditEntry.Peer {
        switch self {
        case .unix(let uid, _, let pid, _), .account(let uid, let pid, _): .process(uid: uid, pid: pid)
        case .tcp(let address): .address(address)
        case .vsock(let contextID, _): .machine(contextID)
        }
    }
}
