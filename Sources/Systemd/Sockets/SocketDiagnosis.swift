internal import CSystemd
internal import Glibc

/// Asks the kernel about TCP sockets of this network namespace: sock_diag(7), which needs no capability.
@safe struct SocketDiagnosis: ~Copyable {
    private let socket: FileDescriptor

    /// Opens the socket. Throws the error of socket(2).
    init() throws(SystemError) {
        let type = CInt(SOCK_RAW.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        socket = FileDescriptor(
            adopting: try checkErrno("socket") { Glibc.socket(AF_NETLINK, type, NETLINK_SOCK_DIAG) }
        )
    }

    /// Calls `body` with each answer, an inet_diag_msg and its attributes: to a dump one for each socket that matches,
    /// else the one socket. Throws what send(2) and recv(2) fail with, and the error in the kernel's answer.
    func ask(
        _ request: inet_diag_req_v2,
        isDump: Bool,
        _ body: (inet_diag_msg, UnsafeRawBufferPointer) -> Void
    ) throws(SystemError) {
        struct Message {
            var header = nlmsghdr()
            var body: inet_diag_req_v2
        }
        var message = Message(body: request)
        message.header.nlmsg_len = UInt32(MemoryLayout<Message>.size)
        message.header.nlmsg_type = UInt16(SOCK_DIAG_BY_FAMILY)
        message.header.nlmsg_flags = UInt16(NLM_F_REQUEST | (isDump ? NLM_F_DUMP : 0))
        message.body.sdiag_protocol = UInt8(IPPROTO_TCP)
        try checkErrno("send") {
            unsafe withUnsafeBytes(of: &message) { unsafe send(socket.raw, $0.baseAddress, $0.count, 0) }
        }
        while unsafe try receive(body), isDump {}
    }

    /// Reads one datagram of the answer, which the kernel produces within send(2) or recv(2), so that there is no wait.
    /// False at the end of the answer.
    private func receive(_ body: (inet_diag_msg, UnsafeRawBufferPointer) -> Void) throws(SystemError) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 32 * 1024)
        let count = try checkErrno("recv") {
            unsafe buffer.withUnsafeMutableBytes { unsafe recv(socket.raw, $0.baseAddress, $0.count, 0) }
        }
        var isDone = count == 0
        var failure: CInt = 0
        unsafe buffer.withUnsafeBytes { bytes in
            var offset = 0
            let headerSize = MemoryLayout<nlmsghdr>.size
            while offset + headerSize <= count {
                let header = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: nlmsghdr.self)
                let length = Int(header.nlmsg_len)
                guard length >= headerSize, offset + length <= count else { break }
                switch CInt(header.nlmsg_type) {
                case NLMSG_DONE: isDone = true
                case NLMSG_ERROR:
                    isDone = true
                    if length >= headerSize + 4 {
                        failure = -(unsafe bytes.loadUnaligned(fromByteOffset: offset + headerSize, as: CInt.self))
                    }
                default:
                    let begin = offset + headerSize
                    let attributes = begin + MemoryLayout<inet_diag_msg>.size
                    guard attributes <= offset + length else { break }
                    unsafe body(
                        bytes.loadUnaligned(fromByteOffset: begin, as: inet_diag_msg.self),
                        UnsafeRawBufferPointer(rebasing: bytes[attributes..<(offset + length)])
                    )
                }
                offset += Self.aligned(length)
            }
        }
        guard failure == 0 else { throw SystemError(call: "sock_diag", code: failure) }
        return !isDone
    }

    /// Netlink aligns messages and attributes to 4 bytes.
    static func aligned(_ length: Int) -> Int { (length + 3) & ~3 }
}

extension FileDescriptor {
    /// The account of the process at the other end of a TCP connection, if that is on this machine and has its socket
    /// open; else nil.
    public func peerAccount() -> UInt32? {
        guard let near = unsafe withName(getsockname, { unsafe SocketAddress($0) }), let far = peerAddress() else {
            return nil
        }
        var request = inet_diag_req_v2()
        // The other end's socket has the same addresses the other way round.
        switch (far, near) {
        case (.ip4(let source, let sourcePort), .ip4(let destination, let destinationPort)):
            request.sdiag_family = UInt8(AF_INET)
            request.id = Self.identity(source, sourcePort, destination, destinationPort)
        case (.ip6(let source, let sourcePort), .ip6(let destination, let destinationPort)):
            request.sdiag_family = UInt8(AF_INET6)
            request.id = Self.identity(source, sourcePort, destination, destinationPort)
        default: return nil
        }
        var account: UInt32?
        do throws(SystemError) {
            try unsafe SocketDiagnosis().ask(request, isDump: false) { socket, _ in
                // Without a process, as in TIME-WAIT, the kernel reports uid 0.
                if socket.idiag_inode != 0 { account = socket.idiag_uid }
            }
        } catch {
            // ENOENT: the other end is on another machine.
            return nil
        }
        return account
    }

    private static func identity(
        _ source: [UInt8],
        _ sourcePort: UInt16,
        _ destination: [UInt8],
        _ destinationPort: UInt16
    ) -> inet_diag_sockid {
        var identity = inet_diag_sockid()
        identity.idiag_sport = sourcePort.bigEndian
        identity.idiag_dport = destinationPort.bigEndian
        unsafe withUnsafeMutableBytes(of: &identity.idiag_src) { unsafe $0.copyBytes(from: source) }
        unsafe withUnsafeMutableBytes(of: &identity.idiag_dst) { unsafe $0.copyBytes(from: destination) }
        // INET_DIAG_NOCOOKIE
        identity.idiag_cookie = (.max, .max)
        return identity
    }
}
