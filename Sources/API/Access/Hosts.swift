internal import HTTP

/// The host names and addresses by which clients may call this computer.
///
/// A web page can send requests here from the browser of a person who forwards a port or the Unix socket: with its
/// origin in `Origin`, or with a host name of its own that resolves to this machine (DNS rebinding).
public struct Hosts: Sendable {
    private let configured: Set<String>
    private let isOwn: @Sendable (String) -> Bool

    /// `configured` are further names, of the settings; `isOwn` tells whether a name in lower case is this machine's or
    /// an address, without brackets, one of its addresses.
    public init(configured: [String], isOwn: @escaping @Sendable (String) -> Bool) {
        self.configured = Set(configured.map { $0.lowercased() })
        self.isOwn = isOwn
    }

    /// Throws a 403 for a request of another site's page. `isProxy` is true for a client whose Host field names another
    /// machine, for which it forwards requests.
    func check(_ head: RequestHead, computerID: String, isProxy: Bool) throws(Failure) {
        if let host = head.host, !isProxy, !admits(host, computerID) {
            throw .forbidden("'\(host)' is no name of this computer; MIOSA_AGENT_HOSTS may have it")
        }
        if let origin = head.fields["Origin"], !Self.isSame(origin, head.host) {
            throw .forbidden("a page of another site may not call this: its Origin is '\(origin.prefix(64))'")
        }
        if let site = head.fields["Sec-Fetch-Site"], site != "same-origin", site != "none" {
            throw .forbidden("a page of another site may not call this: Sec-Fetch-Site is '\(site.prefix(64))'")
        }
    }

    /// Whether the value of a Host field, whose syntax has been checked, names this computer.
    private func admits(_ host: String, _ computerID: String) -> Bool {
        let name = Self.name(of: host).lowercased()
        return name == "localhost" || name == "::1" || Self.isLoopback(name) || name == computerID.lowercased()
            || configured.contains(name) || isOwn(name)
    }

    /// Without the port, and an IPv6 address without its brackets.
    private static func name(of host: String) -> Substring {
        host.hasPrefix("[") ? host.dropFirst().prefix { $0 != "]" } : host.prefix { $0 != ":" }
    }

    /// Four numbers of which the first is 127.
    private static func isLoopback(_ name: String) -> Bool {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127"
            && parts.allSatisfy { part in part.utf8.allSatisfy { (0x30...0x39).contains($0) } && UInt8(part) != nil }
    }

    /// Whether an origin (RFC 6454 §7) is the site that a Host field names.
    private static func isSame(_ origin: String, _ host: String?) -> Bool {
        guard let host, let scheme = ["http://", "https://"].first(where: origin.hasPrefix) else { return false }
        return origin.dropFirst(scheme.count).lowercased() == host.lowercased()
    }
}
