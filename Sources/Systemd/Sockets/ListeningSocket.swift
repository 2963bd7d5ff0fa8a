internal import CSystemd
internal import Glibc

/// A stream socket that listens: passed by systemd, or opened here. Non-blocking.
@EventLoopActor
public final class ListeningSocket {
    /// The kind of the socket.
    public enum Kind: Sendable {
        /// A Unix socket: its file mode decides which accounts can connect.
        case unix
        /// TCP over IPv4 or IPv6.
        case tcp
        /// AF_VSOCK: the host of this virtual machine, other machines on it, and this one: vsock(7).
        case vsock
        /// Anything else that a socket unit can pass: a datagram socket, a FIFO, one that does not listen.
        case other
    }

    public let kind: Kind
    /// Its address, for log messages.
    public let name: String
    let descriptor: FileDescriptor

    private init(_ descriptor: consuming FileDescriptor, kind: Kind, name: String) {
        self.kind = kind
        self.name = name
        self.descriptor = descriptor
        guard kind == .tcp else { return }
        // Connections inherit these. Responses are sent as a whole: the kernel must not delay them (Nagle's algorithm).
        try? self.descriptor.setOption(CInt(IPPROTO_TCP), TCP_NODELAY)
        try? self.descriptor.detectVanishedPeer()
        // A connection is accepted with its first bytes: one that sends nothing costs the process nothing, and one with
        // a request is not closed for others before it is read.
        try? self.descriptor.setOption(CInt(IPPROTO_TCP), TCP_DEFER_ACCEPT, Self.deferAcceptSeconds)
    }

    /// For so long, or until it sends something, a TCP connection is not accepted: tcp(7).
    private static let deferAcceptSeconds: CInt = 5

    /// The kernel's backlog of connections that are not accepted yet (net.core.somaxconn may lower it). Over TCP, a
    /// client beyond it has to retry after a second.
    private static let backlog: CInt = 4096

    /// The sockets that systemd passed to this process: sd_listen_fds_with_names(3). Takes ownership of them: a second
    /// call returns none.
    public static func passed() throws(SystemError) -> [ListeningSocket] {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = try check("sd_listen_fds_with_names", unsafe sd_listen_fds_with_names(1, &names))
        defer {
            for index in 0..<Int(count) { unsafe free(names?[index]) }
            unsafe free(names)
        }
        var sockets: [ListeningSocket] = []
        for index in 0..<count {
            let descriptor = FileDescriptor(adopting: SD_LISTEN_FDS_START + index)
            try descriptor.makeNonBlocking()
            let name = unsafe String(cString: names![Int(index)]!)
            let kind = descriptor.listeningKind
            sockets.append(ListeningSocket(descriptor, kind: kind, name: name))
        }
        return sockets
    }

    /// Opens a socket and listens on it. The path of a Unix socket must be free or a socket without a listener; it gets
    /// `mode`. Throws the error of socket(2), bind(2) or listen(2).
    public static func open(_ address: SocketAddress, mode: UInt32 = 0o660) throws(SystemError) -> ListeningSocket {
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let descriptor = FileDescriptor(adopting: try checkErrno("socket") { socket(address.family, type, 0) })
        if case .unix(let path) = address {
            try removeStaleSocket(path, address)
        } else {
            // A restarted agent can bind while old connections are in TIME_WAIT.
            try descriptor.setOption(SOL_SOCKET, SO_REUSEADDR)
        }
        if case .ip6 = address { try descriptor.setOption(CInt(IPPROTO_IPV6), IPV6_V6ONLY) }
        try unsafe address.withSockaddr { pointer, length throws(SystemError) in
            try checkErrno("bind") { unsafe bind(descriptor.raw, pointer, length) }
        }
        if case .unix(let path) = address { try checkErrno("chmod") { unsafe chmod(path, mode_t(mode)) } }
        try checkErrno("listen") { listen(descriptor.raw, backlog) }
        let kind: Kind =
            switch address {
            case .unix: .unix
            case .vsock: .vsock
            case .ip4, .ip6: .tcp
            }
        return ListeningSocket(descriptor, kind: kind, name: address.description)
    }

    /// The local address: getsockname(2). Nil for a Unix socket.
    public var address: SocketAddress? {
        unsafe descriptor.withName(getsockname) { unsafe SocketAddress($0) }
    }

    /// The path of a Unix socket, as it was bound; nil for another socket, and for one without a path.
    public var path: String? {
        unsafe descriptor.withName(getsockname) { name in
            guard unsafe CInt(name.pointee.sa_family) == AF_UNIX else { return nil }
            // The storage is zeroed and longer than the name.
            let path = unsafe UnsafeRawPointer(name).advanced(by: MemoryLayout<sockaddr_un>.offset(of: \.sun_path)!)
            let text = unsafe String(cString: path.assumingMemoryBound(to: CChar.self))
            return text.isEmpty ? nil : text
        }
    }

    /// Whether a process listens on a Unix socket. Makes a connection to it, which is closed at once.
    public static func isListenedOn(_ path: String) -> Bool {
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        do throws(SystemError) {
            let probe = FileDescriptor(adopting: try checkErrno("socket") { socket(AF_UNIX, type, 0) })
            try unsafe SocketAddress.unix(path: path).withSockaddr { pointer, length throws(SystemError) in
                try checkErrno("connect") { unsafe connect(probe.raw, pointer, length) }
            }
            return true
        } catch {
            // EAGAIN: there is a listener with a full backlog.
            return error.wouldBlock
        }
    }

    /// Calls a handler while connections wait.
    public func watch(handler: @escaping @EventLoopActor (IOWatch.Events) -> Void) throws(SystemError) -> IOWatch {
        try IOWatch(descriptor, .readable, handler: handler)
    }

    /// Whether the process can open `count` more descriptors after the next connection. The kernel assigns the lowest
    /// free number.
    public func leavesDescriptors(_ count: Int) -> Bool {
        var limit = rlimit()
        let next = fcntl(descriptor.raw, F_DUPFD_CLOEXEC, 0)
        guard next >= 0, unsafe getrlimit(Int32(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return false }
        close(next)
        return UInt64(next) + UInt64(count) < limit.rlim_cur
    }

    /// Accepts the next connection; nil when none waits. Errors of a single connection (its peer has gone) are skipped;
    /// throws when descriptors or memory are exhausted.
    public func accept() throws(SystemError) -> FileDescriptor? {
        while true {
            do throws(SystemError) {
                let flags = CInt(SOCK_NONBLOCK.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
                return FileDescriptor(
                    adopting: try checkErrno("accept4") { accept4(descriptor.raw, nil, nil, flags) }
                )
            } catch let error where error.wouldBlock {
                return nil
            } catch let error where [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(error.code) {
                throw error
            } catch {
                // accept(2): network errors of the new connection are to be treated like EAGAIN, by trying again.
                continue
            }
        }
    }

    /// Removes a socket without a listener, left by a crashed process. One with a listener stays, and bind(2) fails.
    private static func removeStaleSocket(_ path: String, _ address: SocketAddress) throws(SystemError) {
        var status = stat()
        guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return }
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        let probe = FileDescriptor(adopting: try checkErrno("socket") { socket(AF_UNIX, type, 0) })
        do throws(SystemError) {
            try unsafe address.withSockaddr { pointer, length throws(SystemError) in
                try checkErrno("connect") { unsafe connect(probe.raw, pointer, length) }
            }
        } catch let error where error.code == ECONNREFUSED {
            try checkErrno("unlink") { unsafe unlink(path) }
        }
    }
}

extension FileDescriptor {
    fileprivate var listeningKind: ListeningSocket.Kind {
        let stream = CInt(SOCK_STREAM.rawValue)
        // Negative results are errors for a descriptor that is not a socket: also `other`.
        if sd_is_socket_unix(raw, stream, 1, nil, 0) > 0 { return .unix }
        if sd_is_socket_inet(raw, AF_UNSPEC, stream, 1, 0) > 0 { return .tcp }
        return sd_is_socket(raw, AF_VSOCK, stream, 1) > 0 ? .vsock : .other
    }
}
