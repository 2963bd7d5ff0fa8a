internal import CSystemd
internal import Glibc

/// The address of a stream socket: an IP address with a port, a path, or a port of AF_VSOCK.
public enum SocketAddress: Hashable, Sendable, CustomStringConvertible {
    /// An IPv4 address of 4 bytes.
    case ip4([UInt8], port: UInt16)
    /// An IPv6 address of 16 bytes.
    case ip6([UInt8], port: UInt16)
    case unix(path: String)
    /// A port of every context id of this machine: vsock(7).
    case vsock(port: UInt32)

    /// Parses an address as systemd writes that of a `ListenStream=`, systemd.socket(5): "vsock::2088", or as
    /// ``init(ip:)`` has it.
    public init?(listenStream text: String) {
        let prefix = "vsock::"
        guard text.hasPrefix(prefix) else {
            self.init(ip: text)
            return
        }
        guard let port = UInt32(text.dropFirst(prefix.count)) else { return nil }
        self = .vsock(port: port)
    }

    /// Parses "127.0.0.1:2088" or "[::1]:2088"; nil for any other text, including host names.
    public init?(ip text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(digits),
            port > 0
        else { return nil }
        let host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            guard let address = Self.parse(host.dropFirst().dropLast(), AF_INET6, byteCount: 16) else { return nil }
            self = .ip6(address, port: port)
        } else {
            guard let address = Self.parse(host, AF_INET, byteCount: 4) else { return nil }
            self = .ip4(address, port: port)
        }
    }

    /// Converts a sockaddr of an internet address or of AF_VSOCK; nil for another family.
    init?(_ address: UnsafePointer<sockaddr>) {
        let raw = unsafe UnsafeRawPointer(address)
        switch unsafe CInt(address.pointee.sa_family) {
        case AF_INET:
            let inet = unsafe raw.loadUnaligned(as: sockaddr_in.self)
            let bytes = (0..<4).map { UInt8(truncatingIfNeeded: inet.sin_addr.s_addr >> (8 * UInt32($0))) }
            self = .ip4(bytes, port: UInt16(bigEndian: inet.sin_port))
        case AF_INET6:
            let inet = unsafe raw.loadUnaligned(as: sockaddr_in6.self)
            let bytes = unsafe withUnsafeBytes(of: inet.sin6_addr) { unsafe Array($0) }
            self = .ip6(bytes, port: UInt16(bigEndian: inet.sin6_port))
        case AF_VSOCK: self = .vsock(port: unsafe raw.loadUnaligned(as: sockaddr_vm.self).svm_port)
        default: return nil
        }
    }

    /// The port of an IP address.
    public var port: UInt16? {
        switch self {
        case .ip4(_, let port), .ip6(_, let port): port
        case .unix, .vsock: nil
        }
    }

    public var description: String {
        switch self {
        case .ip4(let address, let port): "\(Self.text(address, AF_INET)):\(port)"
        case .ip6(let address, let port): "[\(Self.text(address, AF_INET6))]:\(port)"
        case .unix(let path): path
        case .vsock(let port): "vsock::\(port)"
        }
    }

    private static func parse(_ text: Substring, _ family: CInt, byteCount: Int) -> [UInt8]? {
        var address = [UInt8](repeating: 0, count: byteCount)
        return unsafe inet_pton(family, String(text), &address) == 1 ? address : nil
    }

    private static func text(_ address: [UInt8], _ family: CInt) -> String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        return unsafe text.withUnsafeMutableBufferPointer { buffer in
            // Fails only for an unknown family or a buffer that is too small.
            _ = unsafe inet_ntop(family, address, buffer.baseAddress!, socklen_t(buffer.count))
            return unsafe String(cString: buffer.baseAddress!)
        }
    }

    var family: CInt {
        switch self {
        case .ip4: AF_INET
        case .ip6: AF_INET6
        case .unix: AF_UNIX
        case .vsock: AF_VSOCK
        }
    }

    /// A non-blocking socket, connected to a Unix socket; connect(2) on one succeeds or fails at once.
    func connected(_ kind: __socket_type) throws(SystemError) -> FileDescriptor {
        let type = CInt(kind.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let descriptor = FileDescriptor(adopting: try checkErrno("socket") { socket(family, type, 0) })
        try unsafe withSockaddr { pointer, length throws(SystemError) in
            try checkErrno("connect") { unsafe connect(descriptor.raw, pointer, length) }
        }
        return descriptor
    }

    /// Calls `body` with the address as a sockaddr. Throws ENAMETOOLONG for a path that does not fit.
    func withSockaddr(
        _ body: (UnsafePointer<sockaddr>, socklen_t) throws(SystemError) -> Void
    ) throws(SystemError) {
        switch self {
        case .ip4(let bytes, let port):
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }
            try unsafe Self.rebind(&address, body)
        case .ip6(let bytes, let port):
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            unsafe withUnsafeMutableBytes(of: &address.sin6_addr) { unsafe $0.copyBytes(from: bytes) }
            try unsafe Self.rebind(&address, body)
        case .unix(let path):
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            let capacity = MemoryLayout.size(ofValue: address.sun_path)
            guard path.utf8.count < capacity else { throw SystemError(call: "bind", code: ENAMETOOLONG) }
            unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
            try unsafe Self.rebind(&address, body)
        case .vsock(let port):
            var address = sockaddr_vm()
            address.svm_family = sa_family_t(AF_VSOCK)
            address.svm_port = port
            // VMADDR_CID_ANY.
            address.svm_cid = .max
            try unsafe Self.rebind(&address, body)
        }
    }

    private static func rebind<Address>(
        _ address: inout Address,
        _ body: (UnsafePointer<sockaddr>, socklen_t) throws(SystemError) -> Void
    ) throws(SystemError) {
        let length = socklen_t(MemoryLayout<Address>.size)
        try unsafe withUnsafePointer(to: &address) { pointer throws(SystemError) in
            try unsafe body(UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self), length)
        }
    }
}
