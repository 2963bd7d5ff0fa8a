internal import CLaunch

/// Unix addresses: unix(7).
enum UnixSocket {
    /// Connects a socket to an address; a leading '@' means an abstract one. False, with errno, when that fails.
    static func connect(_ descriptor: CInt, _ path: CString) -> Bool {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let length = strlen(path)
        guard length < MemoryLayout.size(ofValue: address.sun_path) else {
            errno = ENAMETOOLONG
            return false
        }
        let isAbstract = path[0] == CChar(UInt8(ascii: "@"))
        withUnsafeMutableBytes(of: &address.sun_path) { bytes in
            memcpy(bytes.baseAddress!, path, length)
            if isAbstract { bytes[0] = 0 }
        }
        // An abstract name has no NUL at its end.
        let size = MemoryLayout<sa_family_t>.size + length + (isAbstract ? 0 : 1)
        return withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                CLaunch.connect(descriptor, $0, socklen_t(size)) == 0
            }
        }
    }
}
