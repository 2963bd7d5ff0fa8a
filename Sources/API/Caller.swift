/// Who is at the other end, as far as the API has to know.
public enum Caller: Equatable, Sendable {
    /// A process on this machine, as the kernel saw it connect to the Unix socket. `isAdmitted` says whether it is
    /// root's or a member's of the configured group; the file mode of the socket says the same a first time.
    case unix(uid: UInt32, gid: UInt32, pid: Int32, isAdmitted: Bool)
    /// Anybody who can reach a TCP port: has to show the token. `address` is where from, for the log.
    case tcp(address: String)
    /// A machine that reaches this one's AF_VSOCK port, by its context id; nil when it had gone before that could be
    /// asked. The host alone is let in, and has to show the token too where there is one.
    case vsock(contextID: UInt32?, isHost: Bool)

    /// The account of a process on this machine.
    var uid: UInt32? {
        guard case .unix(let uid, _, _, _) = self else { return nil }
        return uid
    }
}
