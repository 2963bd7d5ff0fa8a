internal import CSystemd
internal import Glibc

/// The sockets that listen on a TCP port of this network namespace.
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

        /// Whether bind(2) to an address of this port fails with EADDRINUSE: the listener has the same address, or one
        /// of both is the wildcard address.
        public func conflicts(with address: SocketAddress) -> Bool {
            switch address {
            case .ip4(let bytes, _):
                ["0.0.0.0", "::", bytes.map { String($0) }.joined(separator: ".")].contains(self.address)
                    || bytes == [0, 0, 0, 0] && self.address.contains(".")
            case .ip6: self.address == "::" || address.description.hasPrefix("[\(self.address)]:")
            case .unix, .vsock: false
            }
        }
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
        let kernel = try SocketDiagnosis()
        var listeners: [Listener] = []
        for family in [AF_INET, AF_INET6] {
            var request = inet_diag_req_v2()
            request.sdiag_family = UInt8(family)
            request.idiag_states = 1 << listenState
            request.id.idiag_sport = port.bigEndian
            try unsafe kernel.ask(request, isDump: true) { message, attributes in
                if let listener = unsafe listener(message, attributes, port) { listeners.append(listener) }
            }
        }
        return listeners
    }

    /// TCP_LISTEN of the kernel's states.
    private static let listenState = UInt32(10)

    private static func listener(
        _ message: inet_diag_msg,
        _ attributes: UnsafeRawBufferPointer,
        _ port: UInt16
    ) -> Listener? {
        guard message.id.idiag_sport == port.bigEndian, UInt32(message.idiag_state) == listenState else { return nil }
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        var source = message.id.idiag_src
        let address = unsafe withUnsafeBytes(of: &source) { source in
            unsafe inet_ntop(CInt(message.idiag_family), source.baseAddress!, &text, socklen_t(text.count))
                .map { unsafe String(cString: $0) }
        }
        var cgroupID: UInt64?
        var offset = 0
        while offset + 4 <= attributes.count {
            let length = Int(unsafe attributes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
            let type = unsafe attributes.loadUnaligned(fromByteOffset: offset + 2, as: UInt16.self)
            guard length >= 4, offset + length <= attributes.count else { break }
            if Int(type) == INET_DIAG_CGROUP_ID, length >= 12 {
                cgroupID = unsafe attributes.loadUnaligned(fromByteOffset: offset + 4, as: UInt64.self)
            }
            offset += SocketDiagnosis.aligned(length)
        }
        return Listener(address: address ?? "", uid: message.idiag_uid, cgroupID: cgroupID)
    }
}
