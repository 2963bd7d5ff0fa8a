import CSystemd
import Glibc

@testable import Systemd

/// This process.
let processID = getpid()

/// Connects to a Unix socket.
func connectedSocket(_ path: String) throws -> FileDescriptor {
    let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
    let descriptor = FileDescriptor(adopting: try checkErrno("socket") { socket(AF_UNIX, type, 0) })
    try SocketAddress.unix(path: path).withSockaddr { pointer, length throws(SystemError) in
        try checkErrno("connect") { connect(descriptor.raw, pointer, length) }
    }
    try descriptor.makeNonBlocking()
    return descriptor
}
