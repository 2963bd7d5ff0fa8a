/// Who is at the other end, as far as the API has to know.
public enum Caller: Equatable, Sendable {
    /// A process that reached the Unix socket, whose file mode decides who can.
    case unix(uid: UInt32, pid: Int32)
    /// Anybody who can reach a TCP port: has to show the token.
    case tcp

    /// The account of a process on this machine.
    var uid: UInt32? {
        guard case .unix(let uid, _) = self else { return nil }
        return uid
    }
}
