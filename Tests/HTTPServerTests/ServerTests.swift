import HTTP
import HTTPServer
import Systemd
import TestSupport
import Testing

@Suite(.onEventLoop, .serialized, .hangLimit)
struct ServerTests {
    private static func get(_ path: String) -> String { "GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n" }

    // MARK: Requests one after another

    @Test @EventLoopActor func `a connection is kept for the next request`() async throws {
        let harness = try Harness()
        let client = try harness.connect()
        for path in ["/a", "/b", "/c"] {
            try client.send(Self.get(path))
            let reply = try await client.reply()
            #expect(reply.status == "200 OK")
            #expect(reply.text == "GET \(path) ")
            #expect(reply.field("Connection") == nil)
            #expect(reply.field("Date")?.hasSuffix(" GMT") == true)
        }
        #expect(harness.server.connectionCount == 1)
        client.close()
        #expect(try await eventually { harness.server.connectionCount == 0 })
    }

    @Test(arguments: ["GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET /a HTTP/1.0\r\n\r\n"])
    @EventLoopActor
    func `a connection that is not to be kept ends after the response`(request: String) async throws {
        let harness = try Harness()
        let client = try harness.connect()
        try client.send(request + Self.get("/b"))
        let reply = try await client.reply()
        #expect(reply.text == "GET /a ")
        #expect(reply.field("Connection") == "close")
        #expect(try await client.end() == "")
        #expect(harness.asked.all == ["GET /a"])
    }

    @Test @EventLoopActor func `a request in single bytes is a request`() async throws {
        let harness = try Harness()
        let client = try harness.connect()
        for byte in "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody".utf8 {
            try client.send([byte])
            try await turnLoop()
        }
        #expect(try await client.reply().text == "POST /a body")
    }

    @Test @EventLoopActor func `requests that are sent together are answered in their order`() async throws {
        let harness = try Harness()
        let client = try harness.connect()
        try client.send(Self.get("/1") + "POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi" + Self.get("/3"))
        #expect(try await client.reply().text == "GET /1 ")
        #expect(try await client.reply().text == "POST /2 hi")
        #expect(try await client.reply().text == "GET /3 ")
    }

    @Test @EventLoopActor func `a request waits for the answer to the one before it`() async throws {
        let harness = try Harness()
        let client = try harness.connect()
        try client.send(Self.get("/slow/1") + Self.get("/2") + Self.get("/slow/3") + Self.get("/4"))
        #expect(try await harness.asked.next() == "GET /slow/1")
        try await turnLoop()
        #expect(harness.asked.all.count == 1)
        #expect(client.received.isEmpty)
        harness.release("/slow/1")
        #expect(try await client.reply().text == "GET /slow/1 ")
        #expect(try await client.reply().text == "GET /2 ")
        try await turnLoop()
        #expect(harness.asked.all == ["GET /slow/1", "GET /2", "GET /slow/3"])
        harness.release("/slow/3")
        #expect(try await client.reply().text == "GET /slow/3 ")
        #expect(try await client.reply().text == "GET /4 ")
    }

    @Test @EventLoopActor func `connections do not wait for each other`() async throws {
        let harness = try Harness()
        let slow = try harness.connect()
        try slow.send(Self.get("/slow"))
        _ = try await harness.asked.next()
        let quick = try harness.connect()
        try quick.send(Self.get("/quick"))
        #expect(try await quick.reply().text == "GET /quick ")
        harness.release("/slow")
        #expect(try await slow.reply().text == "GET /slow ")
    }

    @Test @EventLoopActor func `what is read ahead of an answer is bounded`() async throws {
        let harness = try Harness(limits: limits { $0.readAheadBytesLimit = 32 * 1024 })
        let client = try harness.connect()
        try client.send(Self.get("/slow"))
        _ = try await harness.asked.next()
        // A body that is larger than the limit and what a socket holds.
        var sent = 0
        let piece = [UInt8](repeating: 0x61, count: 16 * 1024)
        try client.send("POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n")
        var isFull = false
        while sent < 1_048_576, !isFull {
            do {
                try client.send(piece)
                sent += piece.count
            } catch let error as Client.NoRoom {
                sent += error.sent
                try await turnLoop()
                do {
                    try client.send([0x61])
                    sent += 1
                } catch is Client.NoRoom {
                    isFull = true
                }
            }
        }
        #expect(isFull)
        #expect(sent < 1_048_576)
        harness.release("/slow")
        #expect(try await client.reply().text == "GET /slow ")
        while sent < 1_048_576 {
            do {
                try client.send([UInt8](repeating: 0x61, count: min(16 * 1024, 1_048_576 - sent)))
                sent += min(16 * 1024, 1_048_576 - sent)
            } catch let error as Client.NoRoom {
                sent += error.sent
                try await turnLoop()
            }
        }
        #expect(try await client.reply().body.count == "POST /large ".utf8.count + 1_048_576)
    }

    // MARK: Bodies

    @Test @EventLoopActor func `a client that asks is told to go on`() async throws {
        let harness = try Harness()
        let client = try harness.connect()
        try client.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        #expect(try await client.reply() == Client.Reply(head: "HTTP/1.1 100 Continue", body: []))
        #expect(harness.asked.all.isEmpty)
        try client.send("body")
        #expect(try await client.reply().text == "POST /a body")
        try client.send(Self.get("/b"))
        #expect(try await client.reply().text == "GET /b ")
    }

    @Test(arguments: ["", "Expect: 100-continue\r\n"]) @EventLoopActor
    func `a request that is refused for its head is answered without its body`(field: String) async throws {
        let harness = try Harness(refuse: { head, _ in
            head.method == .post ? Response(status: .forbidden, text: "no") : nil
        })
        let client = try harness.connect()
        try client.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\(field)\r\n")
        let reply = try await client.reply()
        #expect(reply.status == "403 Forbidden")
        #expect(reply.text == "no")
        #expect(reply.field("Connection") == "close")
        // What is on its way is taken, so that no reset overtakes the response.
        var sent = 0
        while sent < 500_000 {
            do {
                try client.send([UInt8](repeating: 0x61, count: 10_000))
                sent += 10_000
            } catch let error as Client.NoRoom {
                sent += error.sent
                try await turnLoop()
            }
        }
        client.finishSending()
        #expect(try await client.end() == "")
        #expect(harness.asked.all.isEmpty)
        #expect(try await eventually { harness.server.connectionCount == 0 })
    }

    @Test @EventLoopActor func `a request without a body is not asked about twice`() async throws {
        let heads = Arrivals<String>()
        let harness = try Harness(refuse: { head, _ in
            heads.add(head.target.path)
            return nil
        })
        let client = try harness.connect()
        try client.send(Self.get("/a") + "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        _ = try await client.reply()
        _ = try await client.reply()
        #expect(heads.all == ["/b"])
    }

    @Test @EventLoopActor func `HEAD has the length and no body`() async throws {
        let harness = try Harness()
        let client = try harness.connect()
        try client.send("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" + Self.get("/b"))
        let reply = try await client.reply(isToHEAD: true)
        #expect(reply.field("Content-Length") == String("HEAD /a ".utf8.count))
        #expect(try await client.reply().text == "GET /b ")
    }

    // MARK: Large responses

    private static let large: [UInt8] = (0..<(8 * 1024 * 1024)).map { UInt8(truncatingIfNeeded: $0 &* 7 >> 5) }

    @Test @EventLoopActor func `a large response arrives whole at a slow reader`() async throws {
        let harness = try Harness(respond: { _, _ in Response(status: .ok, body: Self.large) })
        let client = try harness.connect(reads: false, chunkBytes: 50_000)
        try client.send(Self.get("/a"))
        _ = try await harness.asked.next()
        try await turnLoop()
        try client.startReading()
        while client.received.count < Self.large.count { try await turnLoop() }
        let reply = try await client.reply()
        #expect(reply.body == Self.large)
        #expect(harness.server.connectionCount == 1)
    }

    @Test @EventLoopActor func `a request behind a large response waits until that is out`() async throws {
        let harness = try Harness(respond: { request, _ in
            Response(status: .ok, body: request.head.target.path == "/large" ? Self.large : [1])
        })
        let client = try harness.connect(reads: false)
        try client.send(Self.get("/large") + Self.get("/small"))
        try await turnLoop()
        #expect(harness.asked.all == ["GET /large"])
        try client.startReading()
        while client.received.count < Self.large.count { try await turnLoop() }
        #expect(try await client.reply().body == Self.large)
        #expect(try await client.reply().body == [1])
    }

    // MARK: Ends

    @Test @EventLoopActor func `a client that has finished sending still gets its answer`() async throws {
        let harness = try Harness()
        let client = try harness.connect()
        try client.send(Self.get("/slow"))
        client.finishSending()
        _ = try await harness.asked.next()
        try await turnLoop()
        harness.release("/slow")
        let reply = try await client.reply()
        #expect(reply.text == "GET /slow ")
        #expect(reply.field("Connection") == "close")
        #expect(try await client.end() == "")
    }

    @Test @EventLoopActor func `a client that has finished sending gets all answers and then the end`() async throws {
        let harness = try Harness()
        let client = try harness.connect()
        try client.send(Self.get("/slow/1") + Self.get("/2") + Self.get("/3"))
        client.finishSending()
        _ = try await harness.asked.next()
        try await turnLoop()
        harness.release("/slow/1")
        for path in ["/slow/1", "/2", "/3"] { #expect(try await client.reply().text == "GET \(path) ") }
        #expect(try await client.end() == "")
    }

    @Test @EventLoopActor func `requests that were sent before the end of sending are all answered`() async throws {
        let harness = try Harness()
        let client = try harness.connect()
        try client.send((0..<10).map { Self.get("/\($0)") }.joined() + "GET /half")
        client.finishSending()
        for number in 0..<10 { #expect(try await client.reply().text == "GET /\(number) ") }
        #expect(try await client.end() == "")
        #expect(try await eventually { harness.server.connectionCount == 0 })
    }

    @Test @EventLoopActor
    func `a client that has finished sending gets the end after a large response`() async throws {
        let harness = try Harness(respond: { _, _ in Response(status: .ok, body: Self.large) })
        let client = try harness.connect(reads: false)
        try client.send(Self.get("/a"))
        _ = try await harness.asked.next()
        try await turnLoop()
        client.finishSending()
        try await turnLoop()
        try client.startReading()
        while client.received.count < Self.large.count { try await turnLoop() }
        _ = try await client.reply()
        #expect(try await client.end() == "")
    }

    @Test @EventLoopActor func `half a request is no request`() async throws {
        let harness = try Harness()
        let client = try harness.connect()
        try client.send("GET /a HTTP/1.1\r\nHost:")
        client.finishSending()
        #expect(try await client.end() == "")
        #expect(harness.asked.all.isEmpty)
    }

    @Test @EventLoopActor func `a client that goes away while it is answered leaves nothing behind`() async throws {
        let harness = try Harness()
        let client = try harness.connect()
        try client.send(Self.get("/slow"))
        _ = try await harness.asked.next()
        client.close()
        #expect(try await eventually { harness.server.connectionCount == 0 })
        harness.release("/slow")
        try await turnLoop()
        #expect(harness.server.connectionCount == 0)
    }

    @Test @EventLoopActor func `a client that goes away in the middle of a response leaves nothing behind`()
        async throws
    {
        let harness = try Harness(respond: { _, _ in Response(status: .ok, body: Self.large) })
        let client = try harness.connect(reads: false)
        try client.send(Self.get("/a"))
        _ = try await harness.asked.next()
        client.close()
        #expect(try await eventually { harness.server.connectionCount == 0 })
    }

    @Test(arguments: [
        ("nonsense\r\n\r\n", "400 Bad Request"), ("GET /a HTTP/1.1\r\n\r\n", "400 Bad Request"),
        ("GET /a HTTP/3.0\r\nHost: x\r\n\r\n", "505 HTTP Version Not Supported"),
        ("GET /\(String(repeating: "a", count: 9000)) HTTP/1.1\r\nHost: x\r\n\r\n", "414 URI Too Long"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n", "413 Content Too Large"),
    ]) @EventLoopActor
    func `what is no request is answered and ends the connection`(text: String, status: String) async throws {
        let harness = try Harness()
        let client = try harness.connect()
        try client.send(Self.get("/before") + text + Self.get("/after"))
        #expect(try await client.reply().text == "GET /before ")
        let reply = try await client.reply()
        #expect(reply.status == status)
        #expect(reply.field("Connection") == "close")
        client.finishSending()
        #expect(try await client.end() == "")
        #expect(harness.asked.all == ["GET /before"])
    }

    // MARK: Limits

    @Test @EventLoopActor func `a header section that does not end in time is answered 408`() async throws {
        let harness = try Harness(limits: limits { $0.headerTimeout = .milliseconds(40) })
        let client = try harness.connect()
        try client.send("GET /a HT")
        #expect(try await client.reply().status == "408 Request Timeout")
        client.finishSending()
        #expect(try await client.end() == "")
    }

    @Test @EventLoopActor func `single bytes do not put off the end of the header's time`() async throws {
        let harness = try Harness(limits: limits { $0.headerTimeout = .milliseconds(100) })
        let client = try harness.connect()
        try client.send("GET /")
        // A millisecond apart at least: many times as long as the header may take.
        for _ in 0..<5000 where client.received.isEmpty {
            try client.send("a")
            try await dispatchTimers()
        }
        #expect(!client.received.isEmpty)
        #expect(try await client.reply().status == "408 Request Timeout")
    }

    @Test @EventLoopActor func `a body that does not end in time is answered 408`() async throws {
        let harness = try Harness(limits: limits { $0.bodyTimeout = .milliseconds(40) })
        let client = try harness.connect()
        try client.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo")
        #expect(try await client.reply().status == "408 Request Timeout")
        client.finishSending()
        #expect(try await client.end() == "")
        #expect(harness.asked.all.isEmpty)
    }

    @Test @EventLoopActor func `a second request has its own time`() async throws {
        let harness = try Harness(limits: limits { $0.headerTimeout = .milliseconds(40) })
        let client = try harness.connect()
        try client.send(Self.get("/slow"))
        _ = try await harness.asked.next()
        for _ in 0..<2 { try await dispatchTimers() }
        harness.release("/slow")
        #expect(try await client.reply().status == "200 OK")
        try client.send("GET")
        #expect(try await client.reply().status == "408 Request Timeout")
    }

    @Test @EventLoopActor func `a connection without requests ends without a word`() async throws {
        let time = Duration.milliseconds(200)
        let harness = try Harness(limits: limits { $0.idleTimeout = time })
        let fresh = try harness.connect()
        #expect(try await fresh.end() == "")
        let used = try await undisturbed(within: time) {
            let client = try harness.connect()
            try client.send(Self.get("/a"))
            _ = try await client.reply()
            return client
        }
        #expect(try await used.end() == "")
    }

    @Test @EventLoopActor func `a client that takes nothing of its response is given up`() async throws {
        let harness = try Harness(
            limits: limits { $0.writeTimeout = .milliseconds(40) },
            respond: { _, _ in Response(status: .ok, body: Self.large) }
        )
        let client = try harness.connect(reads: false)
        #expect(harness.server.connectionCount == 1)
        try client.send(Self.get("/a"))
        _ = try await harness.asked.next()
        #expect(try await eventually { harness.server.connectionCount == 0 })
        withExtendedLifetime(client) {}
    }

    @Test @EventLoopActor func `a client that does not close is given up`() async throws {
        let harness = try Harness(limits: limits { $0.lingerTimeout = .milliseconds(40) })
        let client = try harness.connect()
        try client.send("nonsense\r\n\r\n")
        _ = try await client.reply()
        #expect(try await eventually { harness.server.connectionCount == 0 })
    }

    // MARK: Draining

    @Test @EventLoopActor func `a server without connections is drained at once and says so once`() async throws {
        let harness = try Harness()
        let drained = Arrivals<String>()
        harness.server.drain { drained.add("first") }
        #expect(drained.all == ["first"])
        harness.server.drain { drained.add("second") }
        try await turnLoop()
        #expect(drained.all == ["first"])
    }

    @Test @EventLoopActor func `connections of a client that is meant are closed whatever they do`() async throws {
        let harness = try Harness()
        let idle = try harness.connect()
        try idle.send("GET /idle HTTP/1.1\r\nHost: x\r\n\r\n")
        _ = try await idle.reply()
        let waiting = try harness.connect()
        try waiting.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        let other = try harness.connect(Harness.trusted)
        try other.send("GET /slow-other HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try await eventually { harness.asked.all.count == 3 })
        harness.server.close { client in if case .tcp = client.peer { true } else { false } }
        #expect(try await idle.end().isEmpty)
        #expect(try await waiting.end().isEmpty)
        // The request is carried out, and its slot is free then.
        harness.release("/slow")
        harness.release("/slow-other")
        #expect(try await other.reply().status.hasSuffix("200 OK"))
        #expect(try await eventually { harness.server.connectionCount == 1 })
    }

    @Test @EventLoopActor func `draining ends idle connections at once and lets a request finish`() async throws {
        let harness = try Harness(limits: limits { $0.drainTimeout = .seconds(600) })
        let drained = Arrivals<Void>()
        let idle = try harness.connect()
        try idle.send(Self.get("/a"))
        _ = try await idle.reply()
        let busy = try harness.connect()
        try busy.send(Self.get("/slow") + Self.get("/never"))
        _ = try await harness.asked.next()
        _ = try await harness.asked.next()
        harness.server.drain { drained.add(()) }
        #expect(try await idle.end() == "")
        try await turnLoop()
        #expect(drained.all.isEmpty)
        #expect(harness.server.connectionCount == 1)
        harness.release("/slow")
        let reply = try await busy.reply()
        #expect(reply.text == "GET /slow ")
        #expect(reply.field("Connection") == "close")
        busy.finishSending()
        #expect(try await busy.end() == "")
        try await drained.next()
        try await turnLoop()
        #expect(drained.all.count == 1)
        #expect(harness.asked.all == ["GET /a", "GET /slow"])
    }

    @Test @EventLoopActor func `draining answers a request that nobody has read yet`() async throws {
        let harness = try Harness(limits: limits { $0.drainTimeout = .seconds(600) })
        let drained = Arrivals<Void>()
        let first = try harness.connect()
        let later = try harness.connect()
        try later.send(Self.get("/a"))
        _ = try await later.reply()
        // Before the loop has turned.
        for client in [first, later] { try client.send(Self.get("/b")) }
        harness.server.drain { drained.add(()) }
        for client in [first, later] {
            let reply = try await client.reply()
            #expect(reply.text == "GET /b ")
            #expect(reply.field("Connection") == "close")
            client.finishSending()
        }
        try await drained.next()
    }

    @Test @EventLoopActor func `draining waits for the first request of whoever has connected`() async throws {
        let harness = try Harness(
            limits: limits {
                $0.drainTimeout = .seconds(600)
                $0.firstRequestDrainTimeout = .seconds(600)
            }
        )
        let drained = Arrivals<Void>()
        let client = try harness.connect()
        let gone = try harness.connect()
        try await turnLoop()
        harness.server.drain { drained.add(()) }
        try await turnLoop()
        #expect(harness.server.connectionCount == 2)
        gone.close()
        try client.send(Self.get("/a"))
        #expect(try await client.reply().text == "GET /a ")
        client.finishSending()
        try await drained.next()
    }

    @Test @EventLoopActor func `draining does not wait for it for long`() async throws {
        let harness = try Harness(
            limits: limits {
                $0.drainTimeout = .seconds(600)
                $0.firstRequestDrainTimeout = .milliseconds(40)
            }
        )
        let drained = Arrivals<Void>()
        let client = try harness.connect()
        harness.server.drain { drained.add(()) }
        #expect(drained.all.isEmpty)
        #expect(try await client.end() == "")
        try await drained.next()
    }

    @Test @EventLoopActor func `draining lets a request arrive that has begun`() async throws {
        let harness = try Harness(limits: limits { $0.drainTimeout = .seconds(600) })
        let drained = Arrivals<Void>()
        let client = try harness.connect()
        try client.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo")
        try await turnLoop()
        harness.server.drain { drained.add(()) }
        try client.send("dy")
        let reply = try await client.reply()
        #expect(reply.text == "POST /a body")
        #expect(reply.field("Connection") == "close")
        client.finishSending()
        try await drained.next()
    }

    @Test @EventLoopActor func `draining ends a connection when its response is out`() async throws {
        let harness = try Harness(
            limits: limits { $0.drainTimeout = .seconds(600) },
            respond: { _, _ in Response(status: .ok, body: Self.large) }
        )
        let drained = Arrivals<Void>()
        let client = try harness.connect(reads: false)
        try client.send(Self.get("/a"))
        _ = try await harness.asked.next()
        try await turnLoop()
        harness.server.drain { drained.add(()) }
        try client.startReading()
        while client.received.count < Self.large.count { try await turnLoop() }
        #expect(try await client.reply().body == Self.large)
        #expect(try await client.end() == "")
        client.close()
        try await drained.next()
    }

    @Test @EventLoopActor func `draining waits no longer than its time`() async throws {
        let harness = try Harness(limits: limits { $0.drainTimeout = .milliseconds(40) })
        let drained = Arrivals<Void>()
        let client = try harness.connect()
        try client.send(Self.get("/slow"))
        _ = try await harness.asked.next()
        harness.server.drain { drained.add(()) }
        #expect(drained.all.isEmpty)
        try await drained.next()
        harness.release("/slow")
        _ = try await client.reply()
        client.close()
        #expect(try await eventually { harness.server.connectionCount == 0 })
        #expect(drained.all.count == 1)
    }

    // MARK: Listening

    @Test @EventLoopActor func `who connects to a listening socket is known to the application`() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/api.sock"
        let peers = Arrivals<PeerCredentials?>()
        let harness = try Harness(respond: { _, peer in
            guard case .unix(let credentials) = peer else {
                peers.add(nil)
                return Response(status: .ok)
            }
            peers.add(credentials)
            return Response(status: .ok)
        })
        try harness.server.listen(on: .open(.unix(path: path)))
        let clients = try (0..<5).map { _ in try Client(connectedSocket(path)) }
        for client in clients {
            try client.send(Self.get("/a"))
            #expect(try await client.reply().status == "200 OK")
            let peer = try #require(try await peers.next())
            #expect(peer.pid == processID)
        }
        #expect(harness.server.connectionCount == 5)
        harness.server.drain {}
        #expect(harness.server.connectionCount == 0)
        #expect(throws: SystemError.self) { _ = try connectedSocket(path) }
    }
}
