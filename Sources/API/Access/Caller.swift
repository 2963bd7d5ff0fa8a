internal import Services

/// The client of a request.
public enum Caller: Equatable, Sendable {
    /// A process on this machine, as the kernel saw it connect to the Unix socket. `isAdmitted` says whether it is
    /// root's or a member's of the configured group; the file mode of the socket says the same a first time.
    case unix(uid: UInt32, gid: UInt32, pid: Int32, isAdmitted: Bool)
    /// A client of a TCP port, which must send the token. `address` is its address, for the log.
    case tcp(address: String)
    /// A machine that connects to the AF_VSOCK port, by its context id; nil when it had disconnected before the id was
    /// read. Only the host is admitted, and must also send the token if there is one.
    case vsock(contextID: UInt32?, isHost: Bool)

    /// The account of a process on this machine.
    var uid: UInt32? {
        guard case .unix(let uid, _, _, _) = self else { return nil }
        return uid
    }
    /// The client in the audit.
    var auditPeer: AuditEntry.Peer {
        switch self {
        case .unix(let uid, _, let pid, _): .process(uid: uid, pid: pid)
        case .tcp(let address): .address(address)
        case .vsock(let contextID, _): .machine(contextID)
        }
    }
}
