import CSystemd
import Glibc
import TestSupport
import Testing

@testable import Systemd

@Suite(.onEventLoop, .serialized, .hangLimit)
struct BusTests {
    private static let path = "/org/example/Thing"
    private static let interface = "org.example.Thing"

    /// A connection with a scripted peer.
    @EventLoopActor
    private final class Line {
        let bus: Bus
        let peer: BusPeer
        let disconnects = Arrivals<Void>()

        init(_ answer: @escaping @EventLoopActor (BusPeer.Call) -> BusPeer.Answer = { _ in .silence }) throws {
            var pair: [CInt] = [-1, -1]
            let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
            try checkErrno("socketpair") { socketpair(AF_UNIX, type, 0, &pair) }
            peer = try BusPeer(adopting: pair[1], answer: answer)
            bus = try Bus(adopting: FileDescriptor(adopting: pair[0])) { [disconnects] in disconnects.add(()) }
        }
    }

    @EventLoopActor
    private static func method(_ member: String) -> BusMethod {
        BusMethod(path: path, interface: interface, member: member)
    }

    /// The error that a call ends with.
    @EventLoopActor
    private func failure(_ call: @EventLoopActor () async throws(BusError) -> Void) async -> BusError? {
        do throws(BusError) {
            try await call()
            return nil
        } catch {
            return error
        }
    }

    // MARK: Calls

    @Test @EventLoopActor func `a call carries its arguments and brings its reply`() async throws {
        let line = try Line { call in .reply { $0.string(call.arguments.joined(separator: ",")) } }
        let reply = try await line.bus.call(Self.method("Join")) { writer throws(SystemError) in
            try writer.string("a b")
            try writer.strings(["c", "", "é"])
            try writer.strings([])
        } decode: { reply throws(SystemError) in
            try reply.string()
        }
        #expect(reply == "a b,[c  é],[]")
        let call = try #require(line.peer.calls.first)
        #expect(call.path == Self.path && call.interface == Self.interface && call.member == "Join")
    }

    private struct Everything: Equatable, Sendable {
        var text = ""
        var path = ""
        var small: UInt32 = 0
        var signed: Int32 = 0
        var large: UInt64 = 0
        var flags: [Bool] = []
        var bytes: [UInt8] = []
        var nothing: [UInt8] = [1]
        var pairs: [String] = []
        var inVariant = ""
    }

    @Test @EventLoopActor func `a reply of every type is read in order`() async throws {
        let line = try Line { _ in
            .reply { reply in
                reply.string("text")
                reply.path("/a/b")
                reply.uint32(.max)
                reply.int32(.min)
                reply.uint64(.max)
                reply.bool(true)
                reply.bool(false)
                reply.double(1.5)
                reply.bytes([0, 1, 255])
                reply.bytes([])
                reply.array(of: "(su)") {
                    for (name, number) in [("x", UInt32(1)), ("y", 2)] {
                        reply.structure(of: "su") {
                            reply.string(name)
                            reply.uint32(number)
                        }
                    }
                }
                reply.variant("s") { reply.string("inside") }
            }
        }
        let everything = try await line.bus.call(Self.method("Get")) { reply throws(SystemError) in
            var read = Everything()
            read.text = try reply.string()
            read.path = try reply.string()
            read.small = try reply.uint32()
            read.signed = try reply.int32()
            read.large = try reply.uint64()
            read.flags = [try reply.bool(), try reply.bool()]
            try reply.skip()
            read.bytes = try reply.bytes()
            read.nothing = try reply.bytes()
            try reply.array(of: "(su)") { () throws(SystemError) in
                try reply.structure(of: "su") { () throws(SystemError) in
                    let name = try reply.string()
                    read.pairs.append("\(name)\(try reply.uint32())")
                }
            }
            try reply.variant { () throws(SystemError) in read.inVariant = try reply.string() }
            return read
        }
        let expected = Everything(
            text: "text",
            path: "/a/b",
            small: .max,
            signed: .min,
            large: .max,
            flags: [true, false],
            bytes: [0, 1, 255],
            nothing: [],
            pairs: ["x1", "y2"],
            inVariant: "inside"
        )
        #expect(everything == expected)
    }

    @Test @EventLoopActor func `properties are read by name and unknown ones passed over`() async throws {
        let line = try Line { _ in
            .reply { reply in
                reply.array(of: "{sv}") {
                    reply.entry("Unknown", "as") { reply.array(of: "s") { reply.string("skipped") } }
                    reply.entry("Name", "s") { reply.string("web") }
                    reply.entry("Other", "(uu)") {
                        reply.structure(of: "uu") {
                            reply.uint32(1)
                            reply.uint32(2)
                        }
                    }
                    reply.entry("PID", "u") { reply.uint32(7) }
                }
                reply.string("after")
            }
        }
        let read = try await line.bus.call(Self.method("GetAll")) { reply throws(SystemError) in
            var lines: [String] = []
            try reply.properties { name throws(SystemError) in
                switch name {
                case "Name": lines.append("name \(try reply.string())")
                case "PID": lines.append("pid \(try reply.uint32())")
                default:
                    lines.append("no \(name)")
                    return false
                }
                return true
            }
            return lines + [try reply.string()]
        }
        #expect(read == ["no Unknown", "name web", "no Other", "pid 7", "after"])
    }

    @Test @EventLoopActor func `an empty dictionary has no properties`() async throws {
        let line = try Line { _ in .reply { $0.array(of: "{sv}") {} } }
        let count = try await line.bus.call(Self.method("GetAll")) { reply throws(SystemError) in
            var count = 0
            try reply.properties { _ throws(SystemError) in
                count += 1
                return false
            }
            return count
        }
        #expect(count == 0)
    }

    @Test @EventLoopActor func `a reply of another type fails the call`() async throws {
        let line = try Line { _ in .reply { $0.string("text") } }
        let error = await failure { () throws(BusError) in
            _ = try await line.bus.call(Self.method("Get")) { reply throws(SystemError) in try reply.uint32() }
        }
        #expect(error == .local(SystemError(call: "sd_bus_message_read_basic", code: ENXIO)))
    }

    @Test @EventLoopActor func `a reply that ends too early fails the call`() async throws {
        let line = try Line { _ in .reply { _ in } }
        let text = await failure { () throws(BusError) in
            _ = try await line.bus.call(Self.method("Get")) { reply throws(SystemError) in try reply.string() }
        }
        #expect(text == .local(SystemError(call: "sd_bus_message_read_basic", code: ENODATA)))
        let number = await failure { () throws(BusError) in
            _ = try await line.bus.call(Self.method("Get")) { reply throws(SystemError) in try reply.uint32() }
        }
        #expect(number == .local(SystemError(call: "sd_bus_message_read_basic", code: ENXIO)))
        let flag = await failure { () throws(BusError) in
            _ = try await line.bus.call(Self.method("Get")) { reply throws(SystemError) in try reply.bool() }
        }
        #expect(flag == .local(SystemError(call: "sd_bus_message_read_basic", code: ENXIO)))
    }

    @Test @EventLoopActor func `a number where a string is due fails the call and does no harm`() async {
        await #expect(processExitsWith: .success) {
            LoopThread.start()
            try await withTaskExecutorPreference(EventLoop.shared) { try await BusTests.readNumberAsString() }
        }
    }

    @EventLoopActor
    fileprivate static func readNumberAsString() async throws {
        let line = try Line { _ in .reply { $0.uint32(7) } }
        var hasFailed = false
        do throws(BusError) {
            _ = try await line.bus.call(method("Get")) { reply throws(SystemError) in try reply.string() }
        } catch {
            hasFailed = true
        }
        precondition(hasFailed, "a number was read as a string")
    }

    @Test @EventLoopActor func `an error reply has its name and its text`() async throws {
        let line = try Line { _ in .error(name: "org.example.Broken", message: "it is broken") }
        let error = await failure { () throws(BusError) in try await line.bus.call(Self.method("Do")) }
        #expect(error == .remote(name: "org.example.Broken", message: "it is broken"))
        #expect(error?.description == "org.example.Broken: it is broken")
        #expect(error?.isDisconnected == false && error?.isTimeout == false)
    }

    @Test(arguments: [
        "System.Error.EPIPE", "System.Error.ECONNREFUSED", "org.freedesktop.DBus.Error.Timeout",
        "org.freedesktop.DBus.Error.Disconnected",
    ])
    @EventLoopActor
    func `an error of the peer that speaks of connections is still an error of the peer`(name: String) async throws {
        let line = try Line { _ in .error(name: name, message: "of the peer's own") }
        let error = await failure { () throws(BusError) in try await line.bus.call(Self.method("Do")) }
        #expect(error == .remote(name: name, message: "of the peer's own"))
    }

    @Test @EventLoopActor func `a call that nobody answers times out`() async throws {
        let line = try Line()
        let error = await failure { () throws(BusError) in
            try await line.bus.call(Self.method("Do"), timeout: .milliseconds(20))
        }
        #expect(error?.isTimeout == true)
        #expect(error?.isDisconnected == false)
        #expect(line.disconnects.all.isEmpty)
    }

    @Test @EventLoopActor func `an argument that cannot be sent fails the call`() async throws {
        let line = try Line { _ in .reply { _ in } }
        let error = await failure { () throws(BusError) in
            try await line.bus.call(BusMethod(path: "no path", interface: Self.interface, member: "Do"))
        }
        #expect(error == .local(SystemError(call: "sd_bus_message_new_method_call", code: EINVAL)))
        // The connection is as good as before.
        try await line.bus.call(Self.method("Do"))
    }

    @Test @EventLoopActor func `a call that wants no reply is there before what is asked next`() async throws {
        let line = try Line { _ in .reply { _ in } }
        for _ in 0..<2 {
            try line.bus.send(Self.method("Tell")) { writer throws(SystemError) in try writer.string("a") }
        }
        try await line.bus.call(Self.method("Ask"))
        #expect(line.peer.calls.map(\.member) == ["Tell", "Tell", "Ask"])
        #expect(line.peer.calls.map(\.arguments) == [["a"], ["a"], []])
        #expect(line.peer.calls.map(\.expectsReply) == [false, false, true])
    }

    @Test @EventLoopActor func `a call that wants no reply fails where the connection is lost`() async throws {
        let line = try Line()
        line.peer.close()
        try await line.disconnects.next()
        #expect(throws: SystemError.self) { try line.bus.send(Self.method("Tell")) { _ throws(SystemError) in } }
    }

    @Test @EventLoopActor func `calls that wait at the same time get their own replies`() async throws {
        let line = try Line { call in .reply { $0.string(call.arguments[0]) } }
        let replies = Arrivals<String>()
        for index in 0..<50 {
            EventLoop.start {
                let reply = try? await line.bus.call(Self.method("Echo")) { writer throws(SystemError) in
                    try writer.string(String(index))
                } decode: { reply throws(SystemError) in
                    try reply.string()
                }
                replies.add(reply == String(index) ? "own" : "wrong")
            }
        }
        for _ in 0..<50 { #expect(try await replies.next() == "own") }
    }

    // MARK: Order

    @Test @EventLoopActor func `code after a reply runs before the signal that follows it`() async throws {
        let steps = Arrivals<String>()
        let line = try Line { _ in .reply { $0.string("reply") } }
        line.peer.replied = { [weak peer = line.peer] in peer?.signal("After", of: Self.interface, path: Self.path) }
        let slot = try line.bus.subscribe(to: "type='signal',member='After'") { _ in steps.add("signal") }
        for _ in 0..<200 {
            let reply = try await line.bus.call(Self.method("Do")) { reply throws(SystemError) in try reply.string() }
            steps.add(reply)
            #expect(try await steps.next() == "reply")
            #expect(try await steps.next() == "signal")
        }
        #expect(steps.all.count == 400)
        withExtendedLifetime(slot) {}
    }

    @Test @EventLoopActor func `messages that wait together are handled in their order with the code between them`()
        async throws
    {
        let steps = Arrivals<String>()
        weak var peer: BusPeer?
        let line = try Line { call in
            guard call.member == "Second" else { return .silence }
            peer?.signal("One", of: Self.interface, path: Self.path)
            return .reply { _ in }
        }
        peer = line.peer
        line.peer.replied = { peer?.signal("Two", of: Self.interface, path: Self.path) }
        let slots = try ["One", "Two"].map { member in
            try line.bus.subscribe(to: "type='signal',interface='\(Self.interface)',member='\(member)'") { _ in
                steps.add(member)
            }
        }
        for _ in 0..<50 {
            let decode: @EventLoopActor (borrowing MessageReader) throws(SystemError) -> Void = { _ in
                steps.add("decode")
            }
            try await line.bus.call(Self.method("Second"), decode: decode)
            steps.add("after")
            var order: [String] = []
            for _ in 0..<4 { order.append(try await steps.next()) }
            #expect(order == ["One", "decode", "after", "Two"])
        }
        withExtendedLifetime(slots) {}
    }

    // MARK: The end

    @Test @EventLoopActor func `when the peer closes every waiting call fails and then the owner hears of it once`()
        async throws
    {
        let line = try Line()
        let steps = Arrivals<String>()
        for _ in 0..<3 {
            EventLoop.start {
                let error = await failure { () throws(BusError) in try await line.bus.call(Self.method("Do")) }
                steps.add(error?.isDisconnected == true ? "disconnected" : "\(error, default: "no error")")
            }
        }
        try await turnLoop()
        #expect(line.peer.calls.count == 3)
        line.peer.close()
        for _ in 0..<3 {
            let step = try await steps.next()
            #expect(step == "disconnected")
            #expect(line.disconnects.all.isEmpty)
        }
        try await line.disconnects.next()
        let error = await failure { () throws(BusError) in try await line.bus.call(Self.method("Do")) }
        #expect(error?.isDisconnected == true)
        try await turnLoop()
        #expect(line.disconnects.all.count == 1)
    }

    @Test @EventLoopActor func `dropping the connection inside the call about its end does no harm`() async throws {
        @EventLoopActor final class Owner { var bus: Bus? }
        var pair: [CInt] = [-1, -1]
        try checkErrno("socketpair") { socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &pair) }
        let owner = Owner()
        let disconnects = Arrivals<Void>()
        let peer = try BusPeer(adopting: pair[1]) { _ in .silence }
        owner.bus = try Bus(adopting: FileDescriptor(adopting: pair[0])) {
            owner.bus = nil
            disconnects.add(())
        }
        try await turnLoop()
        peer.close()
        try await disconnects.next()
        try await turnLoop()
        #expect(disconnects.all.count == 1)
        #expect(owner.bus == nil)
    }

    @Test @EventLoopActor func `a socket that does not exist fails at once`() {
        let error = #expect(throws: SystemError.self) {
            _ = try Bus(connectingTo: "/nonexistent/socket") {}
        }
        #expect(error?.call == "sd_bus_start")
        #expect(error?.isNotFound == true)
    }

    @Test(arguments: ["plain", "with space", "a,b;c=d:e%20f", "tilde~äö", "quote'\"\\"])
    @EventLoopActor
    func `a socket is found whatever its name`(name: String) async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/" + name
        let listening = try ListeningSocket.open(.unix(path: path))
        let bus = try Bus(connectingTo: path) {}
        guard let socket = try listening.accept() else {
            Issue.record("nobody has connected")
            return
        }
        let peer = try BusPeer(adopting: socket.relinquish()) { _ in .builtIn }
        try await bus.call(
            BusMethod(path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus.Peer", member: "Ping")
        )
        #expect(peer.calls.map(\.member) == ["Ping"])
    }

    // MARK: Signals

    @Test @EventLoopActor func `a dropped slot gets no more signals`() async throws {
        let line = try Line { _ in .reply { _ in } }
        let first = Arrivals<Void>()
        let second = Arrivals<Void>()
        var slot: Slot? = try line.bus.subscribe(to: "type='signal',member='Now'") { _ in first.add(()) }
        let other = try line.bus.subscribe(to: "type='signal',member='Now'") { _ in second.add(()) }
        line.peer.signal("Now", of: Self.interface, path: Self.path)
        try await first.next()
        try await second.next()
        withExtendedLifetime(slot) {}
        slot = nil
        line.peer.signal("Now", of: Self.interface, path: Self.path)
        try await second.next()
        try await turnLoop()
        #expect(first.all.count == 1)
        withExtendedLifetime(other) {}
    }

    @Test @EventLoopActor func `a slot that is dropped by its own handler does no harm`() async throws {
        @EventLoopActor final class Owner { var slot: Slot? }
        let owner = Owner()
        let line = try Line()
        let calls = Arrivals<Void>()
        owner.slot = try line.bus.subscribe(to: "type='signal',member='Now'") { _ in
            owner.slot = nil
            calls.add(())
        }
        for _ in 0..<3 { line.peer.signal("Now", of: Self.interface, path: Self.path) }
        try await calls.next()
        try await turnLoop()
        #expect(calls.all.count == 1)
    }

    @Test @EventLoopActor func `path_namespace fits the paths below it and no others`() async throws {
        let line = try Line()
        let paths = Arrivals<String>()
        let slot = try line.bus.subscribe(to: "type='signal',path_namespace='/org/example/unit'") { message in
            paths.add(message.path ?? "none")
        }
        for path in [
            "/org/example/unit/a", "/org/example/unitary", "/org/example/unit", "/org/example", "/org/example/unit/b/c",
        ] {
            line.peer.signal("Now", of: Self.interface, path: path)
        }
        for expected in ["/org/example/unit/a", "/org/example/unit", "/org/example/unit/b/c"] {
            #expect(try await paths.next() == expected)
        }
        try await turnLoop()
        #expect(paths.all.count == 3)
        withExtendedLifetime(slot) {}
    }

    @Test @EventLoopActor func `a rule that makes no sense is refused`() throws {
        let line = try Line()
        let error = #expect(throws: SystemError.self) { _ = try line.bus.subscribe(to: "nonsense") { _ in } }
        #expect(error?.code == EINVAL)
    }

    // MARK: Object paths

    @Test(arguments: [
        ("miosa-service-web.service", "/u/miosa_2dservice_2dweb_2eservice"), ("9lives", "/u/_39lives"), ("", "/u/_"),
        ("a_b", "/u/a_5fb"), ("é", "/u/_c3_a9"),
    ])
    @EventLoopActor
    func `labels become object paths and come back`(label: String, path: String) throws {
        #expect(try Bus.objectPath(below: "/u", for: label) == path)
        #expect(Bus.label(ofObjectPath: path, below: "/u") == label)
    }

    @Test(arguments: ["/v/a", "/ua", "/ua/b", "/", "", "no path"])
    @EventLoopActor
    func `a path that is not below the prefix has no label`(path: String) {
        #expect(Bus.label(ofObjectPath: path, below: "/u") == nil)
    }
}
