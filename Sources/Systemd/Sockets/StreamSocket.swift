internal import CSystemd
internal import Glibc

extension FileDescriptor {
    /// The result of a receive.
    public enum Received: Equatable, Sendable {
        case bytes(Int)
        /// No data yet.
        case wouldBlock
        /// The peer has shut down its sending side.
        case endOfStream
    }

    /// Reads received data into the front of `buffer`: recv(2). Throws its error.
    public func receive(into buffer: inout [UInt8]) throws(SystemError) -> Received {
        do throws(SystemError) {
            let count = try checkErrno("recv") {
                unsafe buffer.withUnsafeMutableBytes { unsafe recv(raw, $0.baseAddress, $0.count, 0) }
            }
            return count == 0 ? .endOfStream : .bytes(count)
        } catch let error where error.wouldBlock {
            return .wouldBlock
        }
    }

    /// Sends bytes from `offset` on and returns the number that the kernel took: send(2). Zero: it would block. Without
    /// `isLast` the kernel may hold data back until more is sent (MSG_MORE). Throws the error of send(2).
    public func send(_ bytes: [UInt8], from offset: Int, isLast: Bool = true) throws(SystemError) -> Int {
        let flags = CInt(MSG_NOSIGNAL) | (isLast ? 0 : CInt(MSG_MORE))
        do throws(SystemError) {
            return try checkErrno("send") {
                unsafe bytes.withUnsafeBytes {
                    unsafe Glibc.send(raw, $0.baseAddress! + offset, $0.count - offset, flags)
                }
            }
        } catch let error where error.wouldBlock {
            return 0
        }
    }

    /// Shuts down the sending side: the peer reads the sent data and then the end of the stream: shutdown(2).
    public func shutdownSending() {
        // ENOTCONN: the peer has closed the connection already.
        _ = shutdown(raw, CInt(SHUT_WR))
    }

    /// The credentials of the peer of a Unix socket at the time of its connect(2): unix(7), SO_PEERCRED.
    public func peerCredentials() throws(SystemError) -> PeerCredentials {
        // struct ucred: pid, uid and gid, 32 bits each. Glibc shows it to _GNU_SOURCE only.
        var credentials: [UInt32] = [0, 0, 0]
        var length = socklen_t(3 * MemoryLayout<UInt32>.size)
        try checkErrno("getsockopt") { unsafe getsockopt(raw, SOL_SOCKET, SO_PEERCRED, &credentials, &length) }
        return PeerCredentials(
            pid: Int32(bitPattern: credentials[0]),
            uid: credentials[1],
            gid: credentials[2],
            groups: try peerGroups()
        )
    }

    /// The supplementary groups that the process at the other end of a Unix socket had when it connected: unix(7),
    /// SO_PEERGROUPS.
    private func peerGroups() throws(SystemError) -> [UInt32] {
        var groups = [UInt32](repeating: 0, count: 64)
        while true {
            var length = socklen_t(groups.count * MemoryLayout<UInt32>.size)
            do throws(SystemError) {
                try checkErrno("getsockopt") { unsafe getsockopt(raw, SOL_SOCKET, SO_PEERGROUPS, &groups, &length) }
                return Array(groups.prefix(Int(length) / MemoryLayout<UInt32>.size))
            } catch let error where error.code == ERANGE {
                // `length` is now the required size.
                groups = [UInt32](repeating: 0, count: Int(length) / MemoryLayout<UInt32>.size)
            }
        }
    }

    /// The address of the peer of a TCP connection: getpeername(2). Nil when the connection is closed.
    public func peerAddress() -> SocketAddress? {
        unsafe withName(getpeername) { unsafe SocketAddress($0) }
    }

    /// The machine at the other end of an AF_VSOCK connection: vsock(7). Nil when the connection is closed.
    public func peerContextID() -> ContextID? {
        unsafe withName(getpeername) { name in
            guard unsafe CInt(name.pointee.sa_family) == AF_VSOCK else { return nil }
            return unsafe ContextID(number: UnsafeRawPointer(name).loadUnaligned(as: sockaddr_vm.self).svm_cid)
        }
    }

    /// Reads the address of one end of a socket with `call` (getsockname or getpeername); nil when that fails.
    func withName<Result>(
        _ call: (CInt, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> CInt,
        _ read: (UnsafePointer<sockaddr>) -> Result?
    ) -> Result? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return unsafe withUnsafeMutablePointer(to: &storage) { pointer in
            let name = unsafe UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: sockaddr.self)
            guard unsafe call(raw, name, &length) == 0 else { return nil }
            return unsafe read(name)
        }
    }

    /// Two connected, non-blocking stream sockets: socketpair(2).
    public static func streamPair(
        _ body: (consuming FileDescriptor, consuming FileDescriptor) throws(SystemError) -> Void
    ) throws(SystemError) {
        var pair: [CInt] = [-1, -1]
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        try checkErrno("socketpair") { unsafe socketpair(AF_UNIX, type, 0, &pair) }
        try body(FileDescriptor(adopting: pair[0]), FileDescriptor(adopting: pair[1]))
    }

    /// The memory that the kernel holds of sent data: SIOCOUTQ. A Unix socket frees it when the peer has read it, TCP
    /// when the peer's kernel has acknowledged it: unix(7), tcp(7). Nil if the kernel does not report it, for AF_VSOCK
    /// before Linux 6.11.
    public var unreadByteCount: Int? {
        var count: CInt = 0
        return unsafe ioctl(raw, UInt(TIOCOUTQ), &count) == 0 ? Int(count) : nil
    }

    /// Makes the kernel close a TCP connection whose peer has vanished: tcp(7).
    func detectVanishedPeer() throws(SystemError) {
        let level = CInt(IPPROTO_TCP)
        try setOption(SOL_SOCKET, SO_KEEPALIVE)
        try setOption(level, TCP_KEEPIDLE, TCPKeepAlive.idleSeconds)
        try setOption(level, TCP_KEEPINTVL, TCPKeepAlive.intervalSeconds)
        try setOption(level, TCP_KEEPCNT, TCPKeepAlive.probes)
        try setOption(level, TCP_USER_TIMEOUT, TCPKeepAlive.unacknowledgedMilliseconds)
    }

    func setOption(_ level: CInt, _ name: CInt, _ value: CInt = 1) throws(SystemError) {
        var value = value
        try checkErrno("setsockopt") { unsafe setsockopt(raw, level, name, &value, socklen_t(MemoryLayout<CInt>.size)) }
    }

    func closeOnExec() throws(SystemError) {
        try checkErrno("fcntl") { fcntl(raw, F_SETFD, FD_CLOEXEC) }
    }

    func makeNonBlocking() throws(SystemError) {
        let flags = try checkErrno("fcntl") { fcntl(raw, F_GETFL) }
        try checkErrno("fcntl") { fcntl(raw, F_SETFL, flags | O_NONBLOCK) }
    }
}

/// Detection of vanished TCP peers: the connection is closed after one minute without a sign of the peer, idle or not.
enum TCPKeepAlive {
    /// TCP_KEEPIDLE: silence before the first probe.
    static let idleSeconds: CInt = 30
    /// TCP_KEEPINTVL: time between probes.
    static let intervalSeconds: CInt = 10
    /// TCP_KEEPCNT: probes without an answer that end the connection.
    static let probes: CInt = 3
    /// TCP_USER_TIMEOUT: the longest that sent data stays without an acknowledgement.
    static let unacknowledgedMilliseconds: CInt = 60_000
}

/// The context id of a machine: vsock(7).
public struct ContextID: Hashable, Sendable {
    public let number: UInt32

    /// The host of this machine: VMADDR_CID_HOST.
    public static let host = ContextID(number: 2)

    public init(number: UInt32) { self.number = number }
}

/// The peer process of a Unix socket.
public struct PeerCredentials: Hashable, Sendable {
    public let pid: Int32
    public let uid: UInt32
    public let gid: UInt32
    /// The supplementary groups.
    public let groups: [UInt32]

    public init(pid: Int32, uid: UInt32, gid: UInt32, groups: [UInt32]) {
        self.pid = pid
        self.uid = uid
        self.gid = gid
        self.groups = groups
    }

    /// Whether the process runs as root or is in a group.
    public func isRoot(orIn group: UInt32?) -> Bool {
        uid == 0 || group.map { gid == $0 || groups.contains($0) } ?? false
    }
}
