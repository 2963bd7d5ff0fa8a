/// The host names of this machine that need no name server: the answer of a name server can be forged (DNS rebinding).
enum LocalHost {
    /// Whether a Host field, whose syntax has been checked, is "localhost" or an IP address. HTTP/1.0 needs no Host
    /// field.
    static func isLocal(_ host: String?) -> Bool {
        guard let host, host != "localhost" else { return true }
        if host.hasPrefix("[") { return true }
        let name = host.prefix { $0 != ":" }
        return name.lowercased() == "localhost" || isAddress(name)
    }

    /// Four numbers, as in "127.0.0.1".
    private static func isAddress(_ name: Substring) -> Bool {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { part in part.allSatisfy(\.isNumber) && UInt8(part) != nil }
    }
}
