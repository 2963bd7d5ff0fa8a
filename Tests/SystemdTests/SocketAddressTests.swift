import Testing

@testable import Systemd

@Suite struct SocketAddressTests {
    private static let loopback6 = [UInt8](repeating: 0, count: 15) + [1]

    @Test(arguments: [
        ("127.0.0.1:2088", SocketAddress.ip4([127, 0, 0, 1], port: 2088), "127.0.0.1:2088"),
        ("0.0.0.0:1", .ip4([0, 0, 0, 0], port: 1), "0.0.0.0:1"),
        ("255.255.255.255:65535", .ip4([255, 255, 255, 255], port: 65535), "255.255.255.255:65535"),
        ("10.0.0.1:0080", .ip4([10, 0, 0, 1], port: 80), "10.0.0.1:80"),
        ("[::1]:2088", .ip6(loopback6, port: 2088), "[::1]:2088"),
        ("[0:0:0:0:0:0:0:1]:2088", .ip6(loopback6, port: 2088), "[::1]:2088"),
        ("[::]:9", .ip6([UInt8](repeating: 0, count: 16), port: 9), "[::]:9"),
        (
            "[2001:DB8::a]:443", .ip6([0x20, 0x01, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [10], port: 443),
            "[2001:db8::a]:443"
        ),
    ])
    func `addresses with ports are parsed and printed`(text: String, expected: SocketAddress, printed: String) {
        #expect(SocketAddress(ip: text) == expected)
        #expect(expected.description == printed)
    }

    @Test(arguments: [
        "", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:99999999999999999999",
        "127.0.0.1:-1", "127.0.0.1:+80", "127.0.0.1: 80", "127.0.0.1:80 ", " 127.0.0.1:80", "127.0.0.1:８０",
        "127.0.0.1:http", "127.0.0.1:80:80", "127.1:80", "127.0.0.256:80", "127.0.0.01.1:80", "0x7f.0.0.1:80",
        "localhost:2088", "example.org:80", "*:80", "::1:2088", "[::1]", "[::1]:", "[::1]2088", "[::1:2088",
        "::1]:2088",
        "[]:80", "[127.0.0.1]:80", "[::1%lo]:80", "[[::1]]:80", "/run/socket", "127.0.0.1:80\n",
    ])
    func `anything else is no address`(text: String) {
        #expect(SocketAddress(ip: text) == nil)
    }

    @Test func `a path prints as itself`() {
        #expect(SocketAddress.unix(path: "/run/x.sock").description == "/run/x.sock")
    }
}

struct ListenerTests {
    private func conflicts(_ listener: String, with address: String) throws -> Bool {
        ListeningPorts.Listener(address: listener, uid: 0, cgroupID: nil)
            .conflicts(with: try #require(SocketAddress(ip: address)))
    }

    @Test(arguments: [
        ("127.0.0.1", "127.0.0.1:1", true), ("0.0.0.0", "127.0.0.1:1", true), ("::", "127.0.0.1:1", true),
        ("127.0.0.2", "127.0.0.1:1", false), ("::1", "127.0.0.1:1", false), ("::1", "[::1]:1", true),
        ("::", "[::1]:1", true), ("::2", "[::1]:1", false), ("127.0.0.1", "[::1]:1", false),
        ("0.0.0.0", "[::1]:1", false), ("10.0.0.1", "0.0.0.0:1", true), ("::1", "0.0.0.0:1", false),
    ])
    func `a listener conflicts with its address, and a wildcard with all of its family`(
        listener: String,
        address: String,
        conflicts: Bool
    ) throws {
        #expect(try self.conflicts(listener, with: address) == conflicts)
    }
}
