internal import CSystemd
internal import Glibc

/// The addresses of this machine's network interfaces.
public enum LocalAddresses {
    /// Whether an interface has an address, given as text without a port: getifaddrs(3).
    public static func contains(_ text: String) -> Bool {
        guard let wanted = SocketAddress(ip: text.contains(":") ? "[\(text)]:1" : "\(text):1") else { return false }
        var first: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&first) == 0 else { return false }
        defer { unsafe freeifaddrs(first) }
        var next = unsafe first
        while let entry = unsafe next {
            if let pointer = unsafe entry.pointee.ifa_addr, let address = unsafe SocketAddress(pointer),
                address.hasSameHost(as: wanted)
            {
                return true
            }
            unsafe next = entry.pointee.ifa_next
        }
        return false
    }
}

extension SocketAddress {
    fileprivate func hasSameHost(as other: SocketAddress) -> Bool {
        switch (self, other) {
        case (.ip4(let address, _), .ip4(let another, _)), (.ip6(let address, _), .ip6(let another, _)):
            address == another
        default: false
        }
    }
}
