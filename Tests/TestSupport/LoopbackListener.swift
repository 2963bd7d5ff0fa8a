import Glibc
import Testing

/// A TCP socket that listens on a free port of a loopback address.
public final class LoopbackListener {
    private let descriptor = socket(AF_INET, Int32(1), 0)
    public private(set) var port: UInt16 = 0

    /// `host` is the last byte of 127.0.0.0/24.
    public init(host: UInt32 = 1) throws {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = (UInt32(0x7f00_0000) + host).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && listen(descriptor, 1) == 0
                    ? getsockname(descriptor, $0, &length) : -1
            }
        }
        try #require(result == 0)
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(descriptor) }
}
