internal import CSystemd
internal import Glibc

/// A TCP port on the loopback addresses.
@EventLoopActor
public enum LoopbackPort {
    /// Whether a process accepts connections on the port, on 127.0.0.1 or ::1. The connection is closed at once.
    public static func accepts(_ port: UInt16) async -> Bool {
        let addresses: [SocketAddress] = [
            .ip4([127, 0, 0, 1], port: port),
            .ip6([UInt8](repeating: 0, count: 15) + [1], port: port),
        ]
        for address in addresses {
            // An error counts as "no": no such network, no listener, or no free descriptor.
            if await (try? connects(to: address)) ?? false { return true }
        }
        return false
    }

    private static func connects(to address: SocketAddress) async throws(SystemError) -> Bool {
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        let descriptor = FileDescriptor(adopting: try checkErrno("socket") { socket(address.family, type, 0) })
        do throws(SystemError) {
            try unsafe address.withSockaddr { pointer, length throws(SystemError) in
                try checkErrno("connect") { unsafe connect(descriptor.raw, pointer, length) }
            }
            return true
        } catch let error where error.code == EINPROGRESS {
            // A listener with a full backlog can take longer.
            await IOWatch.wait(for: descriptor, .writable, atMost: .milliseconds(500))
            return try descriptor.pendingError() == 0
        }
    }
}

extension FileDescriptor {
    /// The error of a connection attempt in the background (SO_ERROR); zero for success or one in progress.
    fileprivate func pendingError() throws(SystemError) -> CInt {
        var code: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        try checkErrno("getsockopt") { unsafe getsockopt(raw, SOL_SOCKET, SO_ERROR, &code, &length) }
        return code
    }
}
