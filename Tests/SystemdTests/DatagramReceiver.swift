import CSystemd
import Glibc
import TestSupport

@testable import Systemd

/// A datagram socket at a path, as journald has one. Nothing is read unless the test does it.
final class DatagramReceiver {
    private let descriptor: FileDescriptor
    private let path: String

    init(_ path: String) throws {
        self.path = path
        let type = CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
        descriptor = FileDescriptor(adopting: try checkErrno("socket") { socket(AF_UNIX, type, 0) })
        try SocketAddress.unix(path: path).withSockaddr { pointer, length throws(SystemError) in
            try checkErrno("bind") { bind(descriptor.raw, pointer, length) }
        }
    }

    /// Takes the path away; whoever is connected stays so until this object goes.
    func unlinkPath() { unlink(path) }

    /// Removes the name of one that has gone.
    static func removeStale(_ path: String) throws { try checkErrno("unlink") { unlink(path) } }

    /// The next datagram that is there; nil when none is.
    func next() throws -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        guard case .bytes(let count) = try descriptor.receive(into: &buffer) else { return nil }
        return Array(buffer[..<count])
    }

    /// Waits until something is there, and takes it.
    @EventLoopActor
    func wait() async throws -> [UInt8]? {
        await IOWatch.wait(for: descriptor, .readable, atMost: patience)
        return try next()
    }
}
