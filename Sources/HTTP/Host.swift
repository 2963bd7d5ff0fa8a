/// The syntax of `host[:port]` in a Host field or an absolute-form target. RFC 9110 §7.2, RFC 3986 §3.2.2.
///
/// Narrower than the grammar on purpose: a registered name is made of unreserved characters only (no
/// percent-encoding, no commas), an IP literal is an IPv6 address without zone, and an empty host is refused because
/// RFC 9110 §4.2.1 requires one for http.
enum Host {
    static func isValid(_ value: ArraySlice<UInt8>) -> Bool {
        let host: ArraySlice<UInt8>
        let rest: ArraySlice<UInt8>
        if value.first == UInt8(ascii: "[") {
            guard let end = value.firstIndex(of: UInt8(ascii: "]")) else { return false }
            host = value[..<end].dropFirst()
            rest = value[(end + 1)...]
            guard isIPv6Address(host) else { return false }
        } else {
            let end = value.firstIndex(of: UInt8(ascii: ":")) ?? value.endIndex
            host = value[..<end]
            rest = value[end...]
            guard !host.isEmpty, host.allSatisfy(\.isUnreserved) else { return false }
        }
        return rest.isEmpty || rest.first == UInt8(ascii: ":") && isPort(rest.dropFirst())
    }

    /// RFC 3986 §3.2.3: `*DIGIT`, so an empty port is one; TCP has no port above 65535.
    private static func isPort(_ digits: ArraySlice<UInt8>) -> Bool {
        guard digits.count <= 5, digits.allSatisfy(\.isDigit) else { return false }
        return digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) } <= 65535
    }

    /// RFC 3986 §3.2.2: eight groups of one to four hexadecimal digits, of which one run of at least one may be
    /// written as `::`, and the last two as an IPv4 address.
    private static func isIPv6Address(_ address: ArraySlice<UInt8>) -> Bool {
        let colon = UInt8(ascii: ":")
        var groupCount = 0
        var isCompressed = false
        var rest = address
        if rest.starts(with: [colon, colon]) {
            isCompressed = true
            rest = rest.dropFirst(2)
        }
        while !rest.isEmpty {
            let end = rest.firstIndex(of: colon) ?? rest.endIndex
            let group = rest[..<end]
            if end == rest.endIndex, group.contains(UInt8(ascii: ".")) {
                guard isIPv4Address(group) else { return false }
                groupCount += 2
                break
            }
            guard (1...4).contains(group.count), group.allSatisfy({ $0.hexadecimalValue != nil }) else { return false }
            groupCount += 1
            rest = rest[end...]
            guard !rest.isEmpty else { break }
            rest = rest.dropFirst()
            // A colon promises a group, or a second colon that stands for the missing ones, once.
            guard !rest.isEmpty else { return false }
            if rest.first == colon {
                guard !isCompressed else { return false }
                isCompressed = true
                rest = rest.dropFirst()
            }
        }
        return isCompressed ? groupCount <= 7 : groupCount == 8
    }

    private static func isIPv4Address(_ address: ArraySlice<UInt8>) -> Bool {
        let numbers = address.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return numbers.count == 4 && numbers.allSatisfy(isDecimalOctet)
    }

    /// RFC 3986 §3.2.2: `dec-octet`, which has no leading zero.
    private static func isDecimalOctet(_ digits: ArraySlice<UInt8>) -> Bool {
        guard (1...3).contains(digits.count), digits.allSatisfy(\.isDigit) else { return false }
        guard digits.count == 1 || digits.first != UInt8(ascii: "0") else { return false }
        return digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) } <= 255
    }
}
