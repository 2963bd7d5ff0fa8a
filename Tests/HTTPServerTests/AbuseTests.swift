import HTTP
import HTTPServer
import Systemd
import TestSupport
import Testing

/// Each limit at the limit and one past it, and who has to give way.
@Suite(.onEventLoop, .serialized, .hangLimit)
struct AbuseTests {
    private static func get(_ path: String) -> String { "GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n" }

    private static func post(_ path: String, _ length: Int) -> String {
        "POST \(path) HTTP/1.1\r\nHost: x\r\nContent-Length: \(length)\r\n\r\n"
    }

    private static let large = [UInt8](repeating: 0x61, count: 4 * 1024 * 1024)

    /// Sends as much as the other end takes while the loop turns; says how much that was.
    @EventLoopActor
    private static func sendAll(_ bytes: [UInt8], to client: Client, patienceTurns: Int = 50) async throws -> Int {
        var sent = 0
        var quiet = 0
        while sent < bytes.count, quiet < patienceTurns {
            do {
                try client.send(Array(bytes[sent..<min(sent + 16 * 1024, bytes.count)]))
                sent = min(sent + 16 * 1024, bytes.count)
                quiet = 0
            } catch let error as Client.NoRoom {
                sent += error.sent
                quiet = error.sent > 0 ? 0 : quiet + 1
                try await turnLoop()
            }
        }
        return sent
    }

    // MARK: Places

    @Test(arguments: [(Peer.tcp(nil), Harness.trusted), (Harness.trusted, Peer.tcp(nil))]) @EventLoopActor
    func `the places of one kind of peers are not another's`(full: Peer, other: Peer) async throws {
        let harness = try Harness(
            limits: limits {
                $0.trusted.connectionsLimit = 2
                $0.strangers.connectionsLimit = 2
            }
        )
        let clients = try (0..<2).map { _ in try harness.connect(full) }
        for (number, client) in clients.enumerated() {
            try client.send(Self.get("/slow/\(number)"))
            _ = try await harness.asked.next()
        }
        let refused = try harness.connect(full)
        #expect(try await refused.reply().status == "429 Too Many Requests")
        let served = try harness.connect(other)
        try served.send(Self.get("/a"))
        #expect(try await served.reply().status == "200 OK")
        for number in 0..<2 { harness.release("/slow/\(number)") }
    }

    @Test @EventLoopActor func `at the limit nobody gives way and one more takes the place of who waits longest`()
        async throws
    {
        let harness = try Harness(limits: limits { $0.strangers.connectionsLimit = 3 })
        let clients = try (0..<3).map { _ in try harness.connect() }
        // The oldest has asked most recently.
        for index in [1, 2, 0] {
            try clients[index].send(Self.get("/\(index)"))
            _ = try await clients[index].reply()
        }
        #expect(clients.allSatisfy { !$0.hasEnded })
        let newcomer = try harness.connect()
        #expect(try await clients[1].end() == "")
        try newcomer.send(Self.get("/new"))
        #expect(try await newcomer.reply().text == "GET /new ")
        for index in [0, 2] {
            try clients[index].send(Self.get("/again"))
            #expect(try await clients[index].reply().text == "GET /again ")
        }
        #expect(harness.server.connectionCount == 3)
    }

    @Test @EventLoopActor func `strangers take no place of a client with an identity`() async throws {
        let harness = try Harness(
            limits: limits {
                $0.strangers.connectionsLimit = 1
                $0.identified.connectionsLimit = 2
            }
        )
        var known: [Client] = []
        for _ in 0..<2 {
            known.append(try harness.connect())
            try known.last?.send(Self.get("/identified"))
            _ = try await known.last?.reply()
        }
        let strangers = try (0..<5).map { _ in try harness.connect() }
        for stranger in strangers.dropLast() { #expect(try await stranger.end() == "") }
        #expect(known.allSatisfy { !$0.hasEnded })
        for client in known {
            try client.send(Self.get("/again"))
            #expect(try await client.reply().text == "GET /again ")
        }
        // Its like can take the place of the one that has been waiting for longest.
        try strangers[4].send(Self.get("/identified"))
        #expect(try await strangers[4].reply().text == "GET /identified ")
        #expect(try await known[0].end() == "")
        #expect(!known[1].hasEnded)
        #expect(harness.server.connectionCount == 2)
    }

    @Test @EventLoopActor func `while all clients with an identity are busy one more is a stranger`() async throws {
        let harness = try Harness(
            limits: limits {
                $0.strangers.connectionsLimit = 1
                $0.identified.connectionsLimit = 1
            }
        )
        let busy = try harness.connect()
        try busy.send(Self.get("/identified") + Self.get("/slow"))
        _ = try await busy.reply()
        #expect(try await harness.asked.next() == "GET /identified")
        #expect(try await harness.asked.next() == "GET /slow")
        let other = try harness.connect()
        try other.send(Self.get("/identified"))
        #expect(try await other.reply().text == "GET /identified ")
        let stranger = try harness.connect()
        #expect(try await other.end() == "")
        #expect(!busy.hasEnded)
        harness.release("/slow")
        #expect(try await busy.reply().text == "GET /slow ")
        withExtendedLifetime(stranger) {}
    }

    @Test(arguments: [
        "", "GET /a HT", "GET /a HTTP/1.1\r\nHost: x\r\n", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nbo",
        "nonsense\r\n\r\n", "GET /held HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nbo",
        "GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /wrong HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nbo",
    ]) @EventLoopActor
    func `who lets the server wait gives way`(sent: String) async throws {
        let harness = try Harness(
            limits: limits { $0.strangers.connectionsLimit = 1 },
            refuse: { head, _ in
                head.target.path == "/wrong" ? Response(status: .unauthorized, text: "wrong") : nil
            },
            hold: { $0.target.path == "/held" ? .seconds(600) : .zero },
            respond: { request, _ in
                switch request.head.target.path {
                case "/wrong": Response(status: .unauthorized, text: "wrong")
                case "/large": Response(status: .ok, body: Self.large)
                default: Response(status: .ok, text: "right")
                }
            }
        )
        let waiting = try harness.connect(reads: false)
        try waiting.send(sent)
        for _ in 0..<5 { try await turnLoop() }
        let newcomer = try harness.connect()
        try newcomer.send(Self.get("/new"))
        #expect(try await newcomer.reply().text == "right")
        #expect(harness.server.connectionCount == 1)
        try waiting.startReading()
        let end = try await waiting.end()
        // Who was sending a body is told; who was refused has been told before.
        if sent.hasPrefix("POST /a") { #expect(end.hasPrefix("HTTP/1.1 408 Request Timeout\r\n")) }
        if sent.hasPrefix("POST /wrong") { #expect(end.hasPrefix("HTTP/1.1 401 Unauthorized\r\n")) }
        if !["POST /a", "POST /wrong", "nonsense", "GET /large"].contains(where: sent.hasPrefix) { #expect(end == "") }
    }

    @Test @EventLoopActor func `who is being answered or streamed to keeps its place`() async throws {
        let producer = Producer()
        let harness = try Harness(
            limits: limits { $0.strangers.connectionsLimit = 2 },
            stream: { $0.head.target.path == "/stream" ? producer.stream : nil }
        )
        let slow = try harness.connect()
        try slow.send(Self.get("/slow"))
        let stream = try harness.connect()
        try stream.send(Self.get("/stream"))
        #expect(try await producer.events.next() == "begun")
        let newcomer = try harness.connect()
        let refusal = try await newcomer.reply()
        #expect(refusal.status == "429 Too Many Requests")
        #expect(refusal.field("Connection") == "close")
        newcomer.finishSending()
        #expect(try await newcomer.end() == "")
        harness.release("/slow")
        #expect(try await slow.reply().text == "GET /slow ")
        let next = try harness.connect()
        try next.send(Self.get("/b"))
        #expect(try await next.reply().text == "GET /b ")
        producer.end()
        #expect(try await stream.bytes(9) == "HTTP/1.1 ")
    }

    @Test @EventLoopActor func `connections that were turned away do not pile up`() async throws {
        let harness = try Harness(limits: limits { $0.strangers.connectionsLimit = 2 })
        let clients = try (0..<2).map { _ in try harness.connect() }
        for (number, client) in clients.enumerated() {
            try client.send(Self.get("/slow/\(number)"))
            _ = try await harness.asked.next()
        }
        // None of them closes after the refusal.
        let extras = try (0..<50).map { _ in try harness.connect() }
        for extra in extras { #expect(try await extra.reply().status == "429 Too Many Requests") }
        #expect(harness.server.connectionCount == 4)
        for number in 0..<2 { harness.release("/slow/\(number)") }
    }

    @Test @EventLoopActor func `a request that is worked on keeps its place when its client has gone`() async throws {
        let harness = try Harness(limits: limits { $0.strangers.connectionsLimit = 1 })
        let client = try harness.connect()
        try client.send(Self.get("/slow"))
        _ = try await harness.asked.next()
        client.close()
        #expect(try await eventually { harness.server.connectionCount == 0 })
        #expect(try await harness.connect().reply().status == "429 Too Many Requests")
        harness.release("/slow")
        try await turnLoop()
        let next = try harness.connect()
        try next.send(Self.get("/b"))
        #expect(try await next.reply().text == "GET /b ")
    }

    @Test @EventLoopActor func `without descriptors strangers give way and newcomers wait in the kernel`() async throws
    {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/api.sock"
        // There are never as many.
        let harness = try Harness(limits: limits { $0.spareDescriptors = 1 << 40 })
        try harness.server.listen(on: .open(.unix(path: path)))
        let busy = try harness.connect()
        try busy.send(Self.get("/slow"))
        _ = try await harness.asked.next()
        let stranger = try harness.connect()
        let trusted = try harness.connect(Harness.trusted)
        let newcomer = try Client(connectedSocket(path))
        try newcomer.send(Self.get("/new"))
        #expect(try await stranger.end() == "")
        #expect(try await trusted.end() == "")
        for _ in 0..<5 { try await turnLoop() }
        #expect(harness.server.connectionCount == 1)
        #expect(harness.asked.all == ["GET /slow"])
        harness.release("/slow")
        #expect(try await busy.reply().text == "GET /slow ")
        withExtendedLifetime(newcomer) {}
    }

    // MARK: Accounts

    private static func account(_ uid: UInt32) -> Peer {
        .account(PeerCredentials(pid: 1, uid: uid, gid: uid, groups: []))
    }

    @Test @EventLoopActor func `an account's connections are its own places`() async throws {
        let harness = try Harness(limits: limits { $0.accountConnectionsLimit = 2 })
        let other = try harness.connect(Self.account(2))
        let mine = try (0..<3).map { _ in try harness.connect(Self.account(1)) }
        // The one that has been waiting for longest.
        #expect(try await mine[0].end() == "")
        for client in [other] + mine[1...] {
            try client.send(Self.get("/a"))
            #expect(try await client.reply().text == "GET /a ")
        }
        // Where all are being answered the next one is refused.
        for client in mine[1...] { try client.send(Self.get("/slow-\(client === mine[1])")) }
        for _ in 0..<5 { _ = try await harness.asked.next() }
        #expect(try await harness.connect(Self.account(1)).reply().status == "429 Too Many Requests")
        #expect(!other.hasEnded)
        for flag in [true, false] { harness.release("/slow-\(flag)") }
    }

    @Test @EventLoopActor func `when accounts have all places the one with most gives way`() async throws {
        let harness = try Harness(
            limits: limits {
                $0.accounts.connectionsLimit = 4
                $0.accountConnectionsLimit = 3
            }
        )
        let first = try harness.connect(Self.account(1))
        let greedy = try (0..<3).map { _ in try harness.connect(Self.account(2)) }
        let newcomer = try harness.connect(Self.account(3))
        #expect(try await greedy[0].end() == "")
        for client in [first, newcomer, greedy[1], greedy[2]] {
            try client.send(Self.get("/a"))
            #expect(try await client.reply().text == "GET /a ")
        }
        // Administrators have places of their own.
        let trusted = try harness.connect(Harness.trusted)
        try trusted.send(Self.get("/b"))
        #expect(try await trusted.reply().text == "GET /b ")
    }

    @Test @EventLoopActor func `bodies of an account take no room of another`() async throws {
        let harness = try Harness(limits: limits { $0.accounts.receivedBytesLimit = 250_000 })
        let small = try harness.connect(Self.account(1))
        try small.send(Self.post("/a", 50_000))
        try await turnLoop()
        let greedy = try (0..<3).map { _ in try harness.connect(Self.account(2)) }
        for client in greedy {
            try client.send(Self.post("/b", 90_000))
            try await turnLoop()
        }
        #expect(try await greedy[0].reply().status == "408 Request Timeout")
        _ = try await Self.sendAll([UInt8](repeating: 0x61, count: 50_000), to: small)
        #expect(try await small.reply().status == "200 OK")
    }

    // MARK: Memory for requests

    @Test @EventLoopActor func `a body that would pass the limit takes the room of the one that waits longest`()
        async throws
    {
        let harness = try Harness(limits: limits { $0.strangers.receivedBytesLimit = 250_000 })
        let clients = try (0..<3).map { _ in try harness.connect() }
        for client in clients[..<2] {
            try client.send(Self.post("/a", 100_000))
            try client.send([UInt8](repeating: 0x61, count: 50_000))
            try await turnLoop()
        }
        #expect(clients.allSatisfy { !$0.hasEnded })
        // What is announced counts, not what has come.
        try clients[2].send(Self.post("/b", 100_000))
        #expect(try await clients[0].reply().status == "408 Request Timeout")
        _ = try await clients[0].end()
        for client in clients[1...] {
            _ = try await Self.sendAll([UInt8](repeating: 0x61, count: 100_000), to: client)
            #expect(try await client.reply().status == "200 OK")
        }
    }

    @Test @EventLoopActor func `what is being answered keeps its room and a body that has none is refused unread`()
        async throws
    {
        let harness = try Harness(limits: limits { $0.strangers.receivedBytesLimit = 150_000 })
        let busy = try harness.connect()
        try busy.send(Self.post("/slow", 100_000))
        _ = try await Self.sendAll([UInt8](repeating: 0x61, count: 100_000), to: busy)
        _ = try await harness.asked.next()
        let newcomer = try harness.connect()
        try newcomer.send("POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n")
        #expect(try await newcomer.reply().status == "429 Too Many Requests")
        // Where nothing is waiting, or everybody else is trusted, there is room.
        let trusted = try harness.connect(Harness.trusted)
        try trusted.send(Self.post("/c", 10))
        try trusted.send("0123456789")
        #expect(try await trusted.reply().text == "POST /c 0123456789")
        // Its client has gone, and the body is still there.
        busy.close()
        #expect(try await eventually { harness.server.connectionCount == 2 })
        let second = try harness.connect()
        try second.send(Self.post("/b", 100_000))
        #expect(try await second.reply().status == "429 Too Many Requests")
        harness.release("/slow")
        try await turnLoop()
        let third = try harness.connect()
        try third.send(Self.post("/b", 100_000))
        _ = try await Self.sendAll([UInt8](repeating: 0x61, count: 100_000), to: third)
        #expect(try await third.reply().status == "200 OK")
    }

    @Test @EventLoopActor func `a chunked body takes room as it grows`() async throws {
        let harness = try Harness(limits: limits { $0.strangers.receivedBytesLimit = 200_000 })
        let busy = try harness.connect()
        try busy.send(Self.post("/slow", 100_000))
        _ = try await Self.sendAll([UInt8](repeating: 0x61, count: 100_000), to: busy)
        _ = try await harness.asked.next()
        let growing = try harness.connect()
        try growing.send("POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        let chunk = Array("1000\r\n".utf8) + [UInt8](repeating: 0x61, count: 4096) + Array("\r\n".utf8)
        var sent = 0
        while growing.received.isEmpty, sent < 1_000_000 {
            sent += try await Self.sendAll(chunk, to: growing)
            try await turnLoop()
        }
        #expect(try await growing.reply().status == "429 Too Many Requests")
        #expect((40_000..<150_000).contains(sent))
        harness.release("/slow")
    }

    @Test @EventLoopActor func `heads that do not end take room too`() async throws {
        let harness = try Harness(limits: limits { $0.strangers.receivedBytesLimit = 100_000 })
        let clients = try (0..<10).map { _ in try harness.connect() }
        for client in clients {
            try client.send("GET /a HTTP/1.1\r\nHost: x\r\nX: " + String(repeating: "a", count: 20_000))
            try await turnLoop()
        }
        #expect(try await eventually { harness.server.connectionCount < 10 })
        #expect(harness.server.connectionCount >= 2)
        #expect(clients[0].hasEnded)
        #expect(!clients[9].hasEnded)
    }

    @Test @EventLoopActor func `who takes nothing of its response is not read without end`() async throws {
        let harness = try Harness(respond: { _, _ in Response(status: .ok, body: Self.large) })
        let client = try harness.connect(reads: false)
        try client.send(Self.get("/a"))
        _ = try await harness.asked.next()
        try await turnLoop()
        let flood = Array(String(repeating: Self.get("/b"), count: 100_000).utf8)
        #expect(try await Self.sendAll(flood, to: client) < 1_000_000)
    }

    // MARK: Memory for responses

    @Test @EventLoopActor func `past the limit the peer loses its connection that has taken nothing for the longest`()
        async throws
    {
        let harness = try Harness(
            limits: limits { $0.waitingBytesLimit = 9 * 1024 * 1024 },
            respond: { _, _ in Response(status: .ok, body: Self.large) }
        )
        let clients = try (0..<2).map { _ in try harness.connect(reads: false) }
        for client in clients {
            try client.send(Self.get("/a"))
            _ = try await harness.asked.next()
            try await turnLoop()
        }
        #expect(harness.server.connectionCount == 2)
        // The first takes something.
        for _ in 0..<5 {
            _ = try clients[0].readOnce()
            try await turnLoop()
        }
        let third = try harness.connect(Harness.trusted, reads: false)
        try third.send(Self.get("/a"))
        _ = try await harness.asked.next()
        try await turnLoop()
        #expect(harness.server.connectionCount == 2)
        try clients[1].startReading()
        #expect(try await clients[1].end().utf8.count < Self.large.count)
        for client in [clients[0], third] {
            try client.startReading()
            while client.received.count < Self.large.count { try await turnLoop() }
            #expect(try await client.reply().body == Self.large)
        }
    }

    @Test @EventLoopActor func `a response that is longer than the limit is sent while it is the only one`()
        async throws
    {
        let harness = try Harness(
            limits: limits { $0.waitingBytesLimit = 1024 * 1024 },
            respond: { _, _ in Response(status: .ok, body: Self.large) }
        )
        let client = try harness.connect(reads: false)
        try client.send(Self.get("/a"))
        _ = try await harness.asked.next()
        try await turnLoop()
        try client.startReading()
        while client.received.count < Self.large.count { try await turnLoop() }
        #expect(try await client.reply().body == Self.large)
    }

    @Test @EventLoopActor func `a stream whose reader takes nothing gives way`() async throws {
        let producer = Producer()
        let harness = try Harness(
            limits: limits { $0.waitingBytesLimit = 6 * 1024 * 1024 },
            stream: { $0.head.target.path == "/stream" ? producer.stream : Self.largeStream }
        )
        let stuck = try harness.connect(reads: false)
        try stuck.send(Self.get("/stream"))
        #expect(try await producer.events.next() == "begun")
        producer.write(Self.large)
        try await turnLoop()
        #expect(harness.server.connectionCount == 1)
        let other = try harness.connect(reads: false)
        try other.send(Self.get("/other"))
        #expect(try await producer.events.next() == "closed and cancelled")
        #expect(harness.server.connectionCount == 1)
        withExtendedLifetime((stuck, other)) {}
    }

    private static let largeStream = BodyStream { writer throws(BodyStreamClosed) in try await writer.write(large) }

    // MARK: Requests that are held back

    @Test(arguments: [
        "GET /held HTTP/1.1\r\nHost: x\r\n\r\n", "POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nbo",
    ])
    @EventLoopActor func `a request is handled when its wait is over and not before`(request: String) async throws {
        var held = 0
        let harness = try Harness(hold: { head in
            guard head.target.path == "/held" else { return .zero }
            held += 1
            return .milliseconds(40)
        })
        let client = try harness.connect()
        let begin = MonotonicClock.now()
        try client.send(request + Self.get("/next"))
        _ = try await harness.asked.next()
        #expect(MonotonicClock.now().duration(since: begin) >= .milliseconds(40))
        #expect(try await client.reply().text.hasSuffix("/held \(request.hasSuffix("bo") ? "bo" : "")"))
        #expect(try await client.reply().text == "GET /next ")
        #expect(held == 1)
    }

    @Test @EventLoopActor func `who does not wait leaves nothing behind`() async throws {
        let harness = try Harness(
            limits: limits { $0.strangers.connectionsLimit = 1 },
            hold: { _ in .seconds(600) }
        )
        for _ in 0..<10 {
            let client = try harness.connect()
            try client.send(Self.get("/held"))
            for _ in 0..<5 { try await turnLoop() }
            client.close()
            #expect(try await eventually { harness.server.connectionCount == 0 })
        }
    }

    // MARK: Turns

    @Test @EventLoopActor func `many requests in one piece let others go first`() async throws {
        let harness = try Harness()
        let greedy = try harness.connect()
        let modest = try harness.connect()
        let count = 1000
        try greedy.send(String(repeating: Self.get("/greedy"), count: count))
        try await turnLoop()
        try modest.send(Self.get("/modest"))
        #expect(try await modest.reply().text == "GET /modest ")
        // A loop that was held up gives some turns more, each of which is one request.
        #expect(harness.asked.all.count < count / 10)
        for _ in 0..<count { #expect(try await greedy.reply().text == "GET /greedy ") }
    }

    @Test @EventLoopActor func `what is read while a turn is awaited is bounded`() async throws {
        let harness = try Harness()
        let greedy = try harness.connect(reads: false)
        let flood = Array(String(repeating: Self.get("/g"), count: 40_000).utf8)
        let sent = try await Self.sendAll(flood, to: greedy, patienceTurns: 5)
        // As many bytes as were asked for, and what a socket and the reading ahead hold.
        #expect(sent - harness.asked.all.count * Self.get("/g").utf8.count < 600_000)
    }
}
