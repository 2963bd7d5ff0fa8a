import CSystemd
import Glibc
import TestSupport
import Testing

@testable import Systemd

@Suite(.onEventLoop, .serialized, .hangLimit)
struct ListeningSocketTests {
    @EventLoopActor
    private func connect(_ address: SocketAddress) throws -> FileDescriptor {
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        let socket = FileDescriptor(adopting: try checkErrno("socket") { Glibc.socket(address.family, type, 0) })
        try address.withSockaddr { pointer, length throws(SystemError) in
            try checkErrno("connect") { Glibc.connect(socket.raw, pointer, length) }
        }
        return socket
    }

    @Test @EventLoopActor func `it is known whether descriptors are left`() throws {
        let directory = try TemporaryDirectory()
        let socket = try ListeningSocket.open(.unix(path: directory.path + "/api.sock"))
        var limit = rlimit()
        try checkErrno("getrlimit") { getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) }
        #expect(socket.leavesDescriptors(1))
        // Number 0 at least is taken.
        #expect(!socket.leavesDescriptors(Int(limit.rlim_cur)))
    }

    @Test @EventLoopActor func `a Unix socket is made with its mode and takes connections`() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/api.sock"
        let socket = try ListeningSocket.open(.unix(path: path), mode: 0o660)
        #expect(socket.kind == .unix)
        #expect(socket.name == path)
        var status = stat()
        try checkErrno("lstat") { lstat(path, &status) }
        #expect(status.st_mode == S_IFSOCK | 0o660)
        let calls = Arrivals<Void>()
        let watch = try socket.watch { _ in calls.add(()) }
        let none = try socket.accept() == nil
        #expect(none)
        let client = try connect(.unix(path: path))
        try await calls.next()
        guard let accepted = try socket.accept() else {
            Issue.record("nobody has connected")
            return
        }
        let peer = try accepted.peerCredentials()
        #expect((peer.pid, peer.uid, peer.gid) == (getpid(), getuid(), getgid()))
        var groups = [gid_t](repeating: 0, count: 1024)
        #expect(Set(peer.groups) == Set(groups.prefix(Int(getgroups(CInt(groups.count), &groups)))))
        var buffer = [UInt8](repeating: 0, count: 4)
        #expect(try accepted.receive(into: &buffer) == .wouldBlock)
        #expect(try client.send([1, 2, 3], from: 1) == 2)
        #expect(try accepted.receive(into: &buffer) == .bytes(2))
        #expect(buffer.prefix(2) == [2, 3])
        client.shutdownSending()
        #expect(try accepted.receive(into: &buffer) == .endOfStream)
        withExtendedLifetime(watch) {}
    }

    @Test @EventLoopActor func `the kernel looks after the peers of TCP connections`() async throws {
        let socket = try ListeningSocket.open(.ip4([127, 0, 0, 1], port: 0))
        let address = try #require(socket.address)
        let calls = Arrivals<Void>()
        let watch = try socket.watch { _ in calls.add(()) }
        let client = try connect(address)
        try await calls.next()
        guard let accepted = try socket.accept() else {
            Issue.record("nobody has connected")
            return
        }
        func option(_ level: CInt, _ name: CInt) throws -> CInt {
            var value: CInt = -1
            var length = socklen_t(MemoryLayout<CInt>.size)
            try checkErrno("getsockopt") { getsockopt(accepted.raw, level, name, &value, &length) }
            return value
        }
        let tcp = CInt(IPPROTO_TCP)
        #expect(try option(SOL_SOCKET, SO_KEEPALIVE) == 1)
        #expect(try option(tcp, TCP_KEEPIDLE) == 30)
        #expect(try option(tcp, TCP_KEEPINTVL) == 10)
        #expect(try option(tcp, TCP_KEEPCNT) == 3)
        #expect(try option(tcp, TCP_USER_TIMEOUT) == 60_000)
        withExtendedLifetime(watch) {}
        _ = try client.send([1], from: 0)
    }

    @Test @EventLoopActor func `it is known what the peer of a Unix socket has not read`() throws {
        try FileDescriptor.streamPair { near, far throws(SystemError) in
            #expect(near.unreadByteCount == 0)
            _ = try near.send([1, 2, 3], from: 0)
            let first = near.unreadByteCount ?? 0
            #expect(first >= 3)
            _ = try near.send([4], from: 0)
            #expect(near.unreadByteCount ?? 0 > first)
            var buffer = [UInt8](repeating: 0, count: 16)
            while case .bytes = try far.receive(into: &buffer) {}
            #expect(near.unreadByteCount == 0)
        }
    }

    @Test @EventLoopActor func `a socket that nobody listens on any more is replaced`() throws {
        let directory = try TemporaryDirectory()
        let address = SocketAddress.unix(path: directory.path + "/api.sock")
        _ = try ListeningSocket.open(address)
        let again = try ListeningSocket.open(address)
        _ = try connect(address)
        let accepted = try again.accept() != nil
        #expect(accepted)
    }

    @Test @EventLoopActor func `a socket that somebody listens on stays`() throws {
        let directory = try TemporaryDirectory()
        let address = SocketAddress.unix(path: directory.path + "/api.sock")
        let first = try ListeningSocket.open(address)
        let error = #expect(throws: SystemError.self) { try ListeningSocket.open(address) }
        #expect(error == SystemError(call: "bind", code: EADDRINUSE))
        _ = try connect(address)
        // The probe for a listener is a connection too.
        var count = 0
        while try first.accept() != nil { count += 1 }
        #expect(count == 2)
    }

    @Test @EventLoopActor func `a file in place of the socket stays`() throws {
        let temporary = try TemporaryDirectory()
        let directory = try Directory(temporary.path)
        try directory.write("api.sock", [1, 2], mode: 0o600)
        let error = #expect(throws: SystemError.self) {
            try ListeningSocket.open(.unix(path: temporary.path + "/api.sock"))
        }
        #expect(error == SystemError(call: "bind", code: EADDRINUSE))
        #expect(try directory.read("api.sock", limitBytes: 10) == [1, 2])
    }

    @Test @EventLoopActor func `the longest path fits and one byte more does not`() throws {
        let directory = try TemporaryDirectory()
        // unix(7): sun_path has 108 bytes, one of which is the final NUL.
        let room = 107 - directory.path.utf8.count - 1
        let longest = directory.path + "/" + String(repeating: "s", count: room)
        #expect(try ListeningSocket.open(.unix(path: longest)).name == longest)
        let error = #expect(throws: SystemError.self) { try ListeningSocket.open(.unix(path: longest + "s")) }
        #expect(error == SystemError(call: "bind", code: ENAMETOOLONG))
    }

    @Test(arguments: [
        SocketAddress.ip4([127, 0, 0, 1], port: 0), .ip6([UInt8](repeating: 0, count: 15) + [1], port: 0),
    ])
    @EventLoopActor
    func `TCP sockets are opened over both protocols`(address: SocketAddress) throws {
        let socket = try ListeningSocket.open(address)
        #expect(socket.kind == .tcp)
        #expect(socket.name == address.description)
    }

    @Test @EventLoopActor func `an address that is taken is told as that`() throws {
        let socket = try ListeningSocket.open(.ip4([127, 0, 0, 1], port: 0))
        let address = try #require(socket.address)
        let error = #expect(throws: SystemError.self) { try ListeningSocket.open(address) }
        #expect(error?.isAddressTaken == true)
        #expect(error?.isFamilyUnsupported == false)
        withExtendedLifetime(socket) {}
    }

    @Test @EventLoopActor func `writing to a peer that has gone fails without a signal`() throws {
        try FileDescriptor.streamPair { near, far throws(SystemError) in
            drop(far)
            var code: CInt?
            do throws(SystemError) {
                _ = try near.send([1], from: 0)
            } catch {
                code = error.code
            }
            #expect(code == EPIPE)
        }
    }

    @Test @EventLoopActor func `a full socket takes no more and says so`() throws {
        try FileDescriptor.streamPair { near, far throws(SystemError) in
            let bytes = [UInt8](repeating: 1, count: 1 << 20)
            var total = 0
            while case let count = try near.send(bytes, from: 0), count > 0 { total += count }
            #expect(total > 0)
            drop(far)
        }
    }

    @EventLoopActor
    private func drop(_ descriptor: consuming FileDescriptor) {}
}
