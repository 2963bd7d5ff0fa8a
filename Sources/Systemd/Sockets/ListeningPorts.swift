internal import CSystemd
internal import Glibc

/// The sockets that listen on a TCP port of this network namespace: sock_diag(7), which needs no capability.
///
/// The kernel does not signal listen(2): callers have to poll.
public enum ListeningPorts {
    /// A listening socket.
    public struct Listener: Equatable, Sendable {
        /// Text of its local address: "0.0.0.0", "::1".
        public let address: String
        /// The account that made it.
        public let uid: UInt32
        /// The inode number of the cgroup directory, in the v2 hierarchy, in which the socket was made; nil if the
        /// kernel (before 5.9, or without cgroup v2) does not report it.
        public let cgroupID: UInt64?
    }

    /// Whether this kernel reports the cgroup of a socket: Linux 5.9, by uname(2).
    public static var reportCgroups: Bool {
        var name = utsname()
        guard unsafe uname(&name) == 0 else { return false }
        let release = unsafe withUnsafeBytes(of: &name.release) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        return reportsCgroups(release: release)
    }

    /// The same for a release: "6.1.0-31-amd64".
    static func reportsCgroups(release: String) -> Bool {
        let numbers = release.split(separator: ".", maxSplits: 2).prefix(2).map { part in
            Int(part.prefix { $0.isASCII && $0.isNumber }) ?? 0
        }
        return numbers.count == 2 && (numbers[0], numbers[1]) >= (5, 9)
    }

    /// The listeners on a port, on any local address. Throws what socket(2), send(2) and recv(2) fail with, and the
    /// error in the kernel's answer.
    public static func listeners(on port: UInt16) throws(SystemError) -> [Listener] {
        let type = CInt(SOCK_RAW.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let socket = FileDescriptor(
            adopting: try checkErrno("socket") { Glibc.socket(AF_NETLINK, type, NETLINK_SOCK_DIAG) }
        )
        var listeners: [Listener] = []
        for family in [AF_INET, AF_INET6] {
            try request(UInt8(family), port, socket)
            var isDone = false
            while !isDone { isDone = try receive(socket, port, &listeners) }
        }
        return listeners
    }

    private static func request(_ family: UInt8, _ port: UInt16, _ socket: borrowing FileDescriptor) throws(SystemError)
    {
        struct Message {
            var header = nlmsghdr()
            var body = inet_diag_req_v2()
        }
        var message = Message()
        message.header.nlmsg_len = UInt32(MemoryLayout<Message>.size)
        message.header.nlmsg_type = UInt16(SOCK_DIAG_BY_FAMILY)
        message.header.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
        message.body.sdiag_family = family
        message.body.sdiag_protocol = UInt8(IPPROTO_TCP)
        message.body.idiag_states = 1 << listenState
        message.body.id.idiag_sport = port.bigEndian
        try checkErrno("send") {
            unsafe withUnsafeBytes(of: &message) { unsafe send(socket.raw, $0.baseAddress, $0.count, 0) }
        }
    }

    /// TCP_LISTEN of the kernel's states.
    private static let listenState = UInt32(10)

    /// Reads one datagram of the answer, which the kernel produces within recv(2), so that there is no wait. True at
    /// the end of the answer.
    private static func receive(
        _ socket: borrowing FileDescriptor,
        _ port: UInt16,
        _ listeners: inout [Listener]
    ) throws(SystemError) -> Bool {
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
                    let body = unsafe bytes[(offset + headerSize)..<(offset + length)]
                    if let listener = unsafe listener(UnsafeRawBufferPointer(rebasing: body), port) {
                        listeners.append(listener)
                    }
                }
                offset += aligned(length)
            }
        }
        guard failure == 0 else { throw SystemError(call: "sock_diag", code: failure) }
        return isDone
    }

    private static func aligned(_ length: Int) -> Int { (length + 3) & ~3 }

    private static func listener(_ bytes: UnsafeRawBufferPointer, _ port: UInt16) -> Listener? {
        let size = MemoryLayout<inet_diag_msg>.size
        guard bytes.count >= size else { return nil }
        let message = unsafe bytes.loadUnaligned(as: inet_diag_msg.self)
        guard message.id.idiag_sport == port.bigEndian, UInt32(message.idiag_state) == listenState else { return nil }
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        var source = message.id.idiag_src
        let address = unsafe withUnsafeBytes(of: &source) { source in
            unsafe inet_ntop(CInt(message.idiag_family), source.baseAddress!, &text, socklen_t(text.count))
                .map { unsafe String(cString: $0) }
        }
        var cgroupID: UInt64?
        var offset = size
        while offset + 4 <= bytes.count {
            let length = Int(unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            let type = unsafe bytes.loadUnaligned(fromByteOffset: offset + 2, as: UInt16.self)
            guard length >= 4, offset + length <= bytes.count else { break }
            if Int(type) == INET_DIAG_CGROUP_ID, length >= 12 {
                cgroupID = unsafe bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt64.self)
            }
            offset += aligned(length)
        }
        return Listener(address: address ?? "", uid: message.idiag_uid, cgroupID: cgroupID)
    }
}
