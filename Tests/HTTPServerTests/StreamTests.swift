import HTTP
import HTTPServer
import Systemd
import TestSupport
import Testing

@Suite(.onEventLoop, .serialized, .hangLimit)
struct StreamTests {
    private static func request(_ path: String, _ method: String = "GET", version: String = "1.1") -> String {
        "\(method) \(path) HTTP/\(version)\r\nHost: x\r\n\r\n"
    }

    /// A server that streams what a producer makes to whoever asks for a path that begins with "/stream".
    @EventLoopActor
    private static func harness(_ producer: Producer, limits: ServerLimits = limits { _ in }) throws -> Harness {
        try Harness(limits: limits, stream: { $0.head.target.path.hasPrefix("/stream") ? producer.stream : nil })
    }

    /// More than a socket holds.
    private static let large = [UInt8](repeating: 0x61, count: 1024 * 1024)

    /// A client whose stream has begun and which does not read; with `isStalled`, the kernel takes no more of it.
    @EventLoopActor
    private static func unreadClient(_ harness: Harness, _ producer: Producer, isStalled: Bool) async throws -> Client {
        let client = try harness.connect(reads: false)
        try client.send(request("/stream"))
        #expect(try await producer.events.next() == "begun")
        if isStalled { producer.write(large) }
        try await turnLoop()
        #expect(producer.events.all == ["begun"])
        return client
    }

    // MARK: Framing

    @Test @EventLoopActor func `a body is sent in chunks as it is made, and the connection is kept`() async throws {
        let producer = Producer()
        let harness = try Self.harness(producer)
        let client = try harness.connect()
        try client.send(Self.request("/stream"))
        let reply = try await client.reply()
        #expect(reply.status == "200 OK")
        #expect(reply.field("Transfer-Encoding") == "chunked")
        #expect(reply.field("Content-Type") == "text/plain")
        #expect(reply.field("Content-Length") == nil)
        #expect(reply.field("Connection") == nil)
        producer.write("hello")
        #expect(try await client.bytes(10) == "5\r\nhello\r\n")
        try await turnLoop()
        #expect(client.received.isEmpty)
        producer.write("0123456789abcdef")
        #expect(try await client.bytes(22) == "10\r\n0123456789abcdef\r\n")
        producer.end()
        #expect(try await client.bytes(5) == "0\r\n\r\n")
        try client.send(Self.request("/next"))
        #expect(try await client.reply().text == "GET /next ")
        #expect(producer.events.all == ["begun", "wrote", "wrote", "ended"])
    }

    @Test @EventLoopActor func `a body without a piece is a last chunk`() async throws {
        let producer = Producer()
        let harness = try Self.harness(producer)
        let client = try harness.connect()
        producer.end()
        for _ in 0..<2 {
            try client.send(Self.request("/stream"))
            _ = try await client.reply()
            #expect(try await client.bytes(5) == "0\r\n\r\n")
            producer.end()
        }
    }

    @Test(arguments: ["", "Connection: keep-alive\r\n"]) @EventLoopActor
    func `to an HTTP 1.0 client the end of the connection is that of the body`(field: String) async throws {
        let producer = Producer()
        let harness = try Self.harness(producer)
        let client = try harness.connect()
        try client.send("GET /stream HTTP/1.0\r\n\(field)\r\n" + Self.request("/never"))
        let reply = try await client.reply()
        #expect(reply.field("Transfer-Encoding") == nil)
        #expect(reply.field("Content-Length") == nil)
        #expect(reply.field("Connection") == "close")
        producer.write("hello")
        #expect(try await client.bytes(5) == "hello")
        producer.write("there")
        producer.end()
        #expect(try await client.end() == "there")
        #expect(harness.asked.all == ["GET /stream"])
        client.close()
        #expect(try await eventually { harness.server.connectionCount == 0 })
    }

    @Test @EventLoopActor func `a client that asks for the last response gets all of it`() async throws {
        let producer = Producer()
        let harness = try Self.harness(producer)
        let client = try harness.connect()
        try client.send("GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        let reply = try await client.reply()
        #expect(reply.field("Connection") == "close")
        producer.write("hello")
        producer.end()
        #expect(try await client.end() == "5\r\nhello\r\n0\r\n\r\n")
    }

    @Test @EventLoopActor func `HEAD gives the head, and nothing is made`() async throws {
        let producer = Producer()
        let harness = try Self.harness(producer)
        let client = try harness.connect()
        try client.send(Self.request("/stream", "HEAD") + Self.request("/next"))
        let reply = try await client.reply(isToHEAD: true)
        #expect(reply.status == "200 OK")
        #expect(reply.field("Transfer-Encoding") == "chunked")
        #expect(reply.field("Connection") == nil)
        #expect(try await client.reply().text == "GET /next ")
        #expect(producer.events.all.isEmpty)
    }

    @Test @EventLoopActor func `HEAD in HTTP 1.0 gives the head and the end`() async throws {
        let producer = Producer()
        let harness = try Self.harness(producer)
        let client = try harness.connect()
        try client.send(Self.request("/stream", "HEAD", version: "1.0"))
        #expect(try await client.reply(isToHEAD: true).field("Connection") == "close")
        #expect(try await client.end() == "")
        #expect(producer.events.all.isEmpty)
    }

    @Test(arguments: ["1.0", "1.1"]) @EventLoopActor
    func `an empty piece is nothing`(version: String) async throws {
        let producer = Producer()
        let harness = try Self.harness(producer)
        let client = try harness.connect()
        try client.send(Self.request("/stream", version: version))
        _ = try await client.reply()
        producer.write("")
        try await turnLoop()
        #expect(producer.events.all == ["begun", "wrote"])
        #expect(client.received.isEmpty)
        producer.write("x")
        let piece = version == "1.0" ? "x" : "1\r\nx\r\n"
        #expect(try await client.bytes(piece.utf8.count) == piece)
    }

    @Test(arguments: [("1.0", ""), ("1.1", ""), ("1.1", "5\r\nhello\r\n")]) @EventLoopActor
    func `a body that cannot be completed ends without a last chunk`(version: String, before: String) async throws {
        let producer = Producer()
        let harness = try Self.harness(producer)
        let client = try harness.connect()
        try client.send(Self.request("/stream", version: version) + Self.request("/never"))
        _ = try await client.reply()
        if !before.isEmpty { producer.write("hello") }
        producer.fail()
        #expect(try await client.end() == before)
        #expect(producer.events.all.last == "failed")
        #expect(harness.asked.all == ["GET /stream"])
        client.close()
        #expect(try await eventually { harness.server.connectionCount == 0 })
    }

    // MARK: Readers

    @Test @EventLoopActor func `a reader who does not read holds up the maker, who has one piece in hand`() async throws
    {
        let producer = Producer()
        let harness = try Self.harness(producer)
        let client = try harness.connect(reads: false)
        try client.send(Self.request("/stream"))
        #expect(try await producer.events.next() == "begun")
        let size = 64 * 1024
        let pieces = 64
        for index in 0..<pieces { producer.write([UInt8](repeating: UInt8(index), count: size)) }
        try await turnLoop()
        let written = producer.events.all.count { $0 == "wrote" }
        #expect((1..<16).contains(written))
        // Every piece that is done with is in the kernel, and the next one is not.
        let head = 512
        let held = try client.readOnce()
        #expect(held >= written * size)
        #expect(held < head + (written + 1) * (size + 16))
        try client.startReading()
        producer.end()
        let reply = try await client.reply()
        #expect(reply.field("Transfer-Encoding") == "chunked")
        for index in 0..<pieces {
            #expect(try await client.bytes(7) == "10000\r\n")
            let piece = Array(try await client.bytes(size).utf8)
            #expect(piece.count == size && piece.allSatisfy { $0 == UInt8(index) })
            #expect(try await client.bytes(2) == "\r\n")
        }
        #expect(try await client.bytes(5) == "0\r\n\r\n")
        #expect(producer.events.all.count == pieces + 2)
    }

    @Test(arguments: [true, false], [true, false]) @EventLoopActor
    func `a reader who goes ends the making at once`(closes: Bool, isStalled: Bool) async throws {
        let producer = Producer()
        let harness = try Self.harness(producer)
        let client = try await Self.unreadClient(harness, producer, isStalled: isStalled)
        if closes { client.close() } else { client.finishSending() }
        // No timer runs out meanwhile.
        try await turnLoop()
        #expect(producer.events.all == ["begun", isStalled ? "closed and cancelled" : "cancelled"])
        #expect(harness.server.connectionCount == 0)
        withExtendedLifetime(client) {}
    }

    @Test @EventLoopActor func `a reader who had gone before gets the end, and nothing is made`() async throws {
        let producer = Producer()
        let harness = try Harness(stream: { _ in producer.stream })
        let client = try harness.connect()
        try client.send(Self.request("/slow"))
        client.finishSending()
        _ = try await harness.asked.next()
        try await turnLoop()
        harness.release("/slow")
        let reply = try await client.reply()
        #expect(reply.field("Connection") == "close")
        #expect(try await client.end() == "0\r\n\r\n")
        #expect(producer.events.all.isEmpty)
        #expect(harness.server.connectionCount == 0)
    }

    @Test @EventLoopActor func `what is written for a reader who has gone is refused`() async throws {
        let harness = try Harness(stream: { _ in
            BodyStream { writer throws(BodyStreamClosed) in
                // Takes no notice of being cancelled.
                for _ in 0..<1000 { try await writer.write(Self.large) }
                Issue.record("nobody has read that")
            }
        })
        let client = try harness.connect(reads: false)
        try client.send(Self.request("/stream"))
        _ = try await harness.asked.next()
        try await turnLoop()
        client.close()
        try await turnLoop()
        #expect(harness.server.connectionCount == 0)
    }

    @Test @EventLoopActor func `two streams do not hold each other up`() async throws {
        let producers = ["/stream/1": Producer(), "/stream/2": Producer()]
        let harness = try Harness(stream: { producers[$0.head.target.path]?.stream })
        let first = try #require(producers["/stream/1"])
        let second = try #require(producers["/stream/2"])
        let stalled = try harness.connect(reads: false)
        try stalled.send(Self.request("/stream/1"))
        #expect(try await first.events.next() == "begun")
        first.write(Self.large)
        let reader = try harness.connect()
        try reader.send(Self.request("/stream/2"))
        _ = try await reader.reply()
        for index in 0..<10 {
            second.write("\(index)")
            #expect(try await reader.bytes(6) == "1\r\n\(index)\r\n")
        }
        #expect(first.events.all == ["begun"])
        stalled.close()
        try await turnLoop()
        #expect(first.events.all == ["begun", "closed and cancelled"])
        second.end()
        #expect(try await reader.bytes(5) == "0\r\n\r\n")
        try reader.send(Self.request("/next"))
        #expect(try await reader.reply().text == "GET /next ")
    }

    // MARK: Times

    @Test @EventLoopActor func `a reader who takes nothing in time is given up`() async throws {
        let producer = Producer()
        let harness = try Self.harness(producer, limits: limits { $0.writeTimeout = .milliseconds(60) })
        let client = try await Self.unreadClient(harness, producer, isStalled: false)
        let begin = MonotonicClock.now()
        producer.write(Self.large)
        #expect(try await producer.events.next() == "closed and cancelled")
        #expect(MonotonicClock.now().duration(since: begin) >= .milliseconds(60))
        #expect(harness.server.connectionCount == 0)
        withExtendedLifetime(client) {}
    }

    @Test @EventLoopActor func `a reader who reads nothing of small pieces is given up`() async throws {
        let producer = Producer()
        let harness = try Self.harness(producer, limits: limits { $0.writeTimeout = .zero })
        let client = try await Self.unreadClient(harness, producer, isStalled: false)
        producer.write("first")
        #expect(try await producer.events.next() == "wrote")
        producer.write("second")
        #expect(try await producer.events.next() == "closed and cancelled")
        #expect(harness.server.connectionCount == 0)
        withExtendedLifetime(client) {}
    }

    @Test @EventLoopActor func `a reader who has read the last piece gets the next one`() async throws {
        let producer = Producer()
        let harness = try Self.harness(producer, limits: limits { $0.writeTimeout = .zero })
        let client = try harness.connect()
        try client.send(Self.request("/stream"))
        _ = try await client.reply()
        for index in 0..<5 {
            producer.write("\(index)")
            #expect(try await client.bytes(6) == "1\r\n\(index)\r\n")
        }
        producer.end()
        #expect(try await client.bytes(5) == "0\r\n\r\n")
    }

    @Test @EventLoopActor func `a reader who reads a little in time keeps its stream`() async throws {
        let producer = Producer()
        let harness = try Self.harness(producer, limits: limits { $0.writeTimeout = .seconds(600) })
        let client = try await Self.unreadClient(harness, producer, isStalled: false)
        for _ in 0..<5 {
            producer.write("piece")
            #expect(try await producer.events.next() == "wrote")
        }
        try client.startReading()
        _ = try await client.reply()
        #expect(try await client.bytes(50).utf8.count == 50)
        producer.end()
    }

    @Test @EventLoopActor
    func `the connection of a reader who is given up ends, whatever the maker does`() async throws {
        let refused = Arrivals<CheckedContinuation<Void, Never>>()
        let harness = try Harness(
            limits: limits { $0.writeTimeout = .milliseconds(40) },
            stream: { _ in
                BodyStream { writer throws(BodyStreamClosed) in
                    do throws(BodyStreamClosed) {
                        try await writer.write(Self.large)
                    } catch {
                        // Has something to finish, and takes its time.
                        await withCheckedContinuation { continuation in
                            EventLoopActor.assumeIsolated { refused.add(continuation) }
                        }
                    }
                }
            }
        )
        let client = try harness.connect(reads: false)
        try client.send(Self.request("/stream"))
        let maker = try await refused.next()
        try client.startReading()
        #expect(try await client.end().utf8.count < Self.large.count)
        maker.resume()
    }

    @Test @EventLoopActor func `a stream may be quiet for as long as it likes`() async throws {
        let producer = Producer()
        let time = Duration.seconds(2)
        let harness = try Self.harness(
            producer,
            limits: limits { limits in
                limits.headerTimeout = time
                limits.bodyTimeout = time
                limits.idleTimeout = time
                limits.writeTimeout = time
                limits.lingerTimeout = time
            }
        )
        let client = try harness.connect()
        try client.send(Self.request("/stream"))
        // More than the socket holds: it has to wait, and its time ends when it is out.
        producer.write(Self.large)
        #expect(try await producer.events.next() == "begun")
        #expect(try await producer.events.next() == "wrote")
        // The loop comes to rest meanwhile: nobody waits for room.
        try await dispatchTimers(after: time * 2)
        _ = try await client.reply()
        _ = try await client.bytes("100000\r\n".utf8.count + Self.large.count + 2)
        producer.write("x")
        #expect(try await client.bytes(6) == "1\r\nx\r\n")
        // Afterwards the connection is one that has nothing to do.
        producer.end()
        #expect(try await client.end() == "0\r\n\r\n")
    }

    // MARK: Requests behind a stream

    @Test @EventLoopActor func `requests behind a stream are answered when it has ended`() async throws {
        let producer = Producer()
        let harness = try Self.harness(producer)
        let client = try harness.connect()
        try client.send(Self.request("/stream") + Self.request("/2") + Self.request("/stream"))
        _ = try await client.reply()
        try client.send(Self.request("/4"))
        producer.write("x")
        #expect(try await client.bytes(6) == "1\r\nx\r\n")
        try await turnLoop()
        #expect(harness.asked.all == ["GET /stream"])
        producer.end()
        #expect(try await client.bytes(5) == "0\r\n\r\n")
        #expect(try await client.reply().text == "GET /2 ")
        _ = try await client.reply()
        producer.end()
        #expect(try await client.bytes(5) == "0\r\n\r\n")
        #expect(try await client.reply().text == "GET /4 ")
    }

    @Test @EventLoopActor func `a request behind a stream waits until the stream's end is out`() async throws {
        let producer = Producer()
        let harness = try Self.harness(producer)
        let client = try await Self.unreadClient(harness, producer, isStalled: true)
        try client.send(Self.request("/next"))
        producer.end()
        try await turnLoop()
        #expect(harness.asked.all == ["GET /stream"])
        try client.startReading()
        _ = try await client.reply()
        _ = try await client.bytes("100000\r\n".utf8.count + Self.large.count + "\r\n0\r\n\r\n".utf8.count)
        #expect(try await client.reply().text == "GET /next ")
    }

    @Test @EventLoopActor func `what is read ahead behind a stream is bounded, and nothing of it is lost`() async throws
    {
        let producer = Producer()
        let readAhead = 32 * 1024
        let harness = try Self.harness(producer, limits: limits { $0.readAheadBytesLimit = readAhead })
        let client = try harness.connect()
        try client.send(Self.request("/stream"))
        _ = try await client.reply()
        let requests = Array(String(repeating: Self.request("/behind"), count: 30_000).utf8)
        var sent = 0
        while sent < requests.count {
            do {
                try client.send(Array(requests[sent...]))
                sent = requests.count
            } catch let error as Client.NoRoom {
                sent += error.sent
                try await turnLoop()
                guard error.sent > 0 else { break }
            }
        }
        #expect(sent < requests.count)
        #expect(sent > readAhead)
        #expect(harness.asked.all == ["GET /stream"])
        producer.write("x")
        #expect(try await client.bytes(6) == "1\r\nx\r\n")
        producer.end()
        #expect(try await client.bytes(5) == "0\r\n\r\n")
        // Those that were sent whole are answered, in turn.
        let whole = sent / Self.request("/behind").utf8.count
        for _ in 0..<whole { #expect(try await client.reply().text == "GET /behind ") }
        try client.send(Array(requests[sent..<((whole + 1) * Self.request("/behind").utf8.count)]))
        #expect(try await client.reply().text == "GET /behind ")
    }

    // MARK: Draining

    @Test @EventLoopActor func `draining ends a stream with its last chunk`() async throws {
        let producer = Producer()
        let harness = try Self.harness(producer, limits: limits { $0.drainTimeout = .seconds(600) })
        let drained = Arrivals<Void>()
        let client = try harness.connect()
        try client.send(Self.request("/stream") + Self.request("/never"))
        _ = try await client.reply()
        producer.write("x")
        #expect(try await client.bytes(6) == "1\r\nx\r\n")
        harness.server.drain { drained.add(()) }
        #expect(try await client.end() == "0\r\n\r\n")
        #expect(producer.events.all == ["begun", "wrote", "cancelled"])
        #expect(drained.all.isEmpty)
        client.close()
        try await drained.next()
        #expect(harness.server.connectionCount == 0)
        #expect(harness.asked.all == ["GET /stream"])
    }

    @Test @EventLoopActor func `draining ends an HTTP 1.0 stream`() async throws {
        let producer = Producer()
        let harness = try Self.harness(producer, limits: limits { $0.drainTimeout = .seconds(600) })
        let drained = Arrivals<Void>()
        let client = try harness.connect()
        try client.send(Self.request("/stream", version: "1.0"))
        _ = try await client.reply()
        harness.server.drain { drained.add(()) }
        #expect(try await client.end() == "")
        client.close()
        try await drained.next()
    }

    @Test @EventLoopActor func `draining lets a slow reader have what was written`() async throws {
        let producer = Producer()
        let harness = try Self.harness(producer, limits: limits { $0.drainTimeout = .seconds(600) })
        let drained = Arrivals<Void>()
        let client = try await Self.unreadClient(harness, producer, isStalled: true)
        harness.server.drain { drained.add(()) }
        try await turnLoop()
        #expect(harness.server.connectionCount == 1)
        try client.startReading()
        _ = try await client.reply()
        #expect(try await client.bytes(8) == "100000\r\n")
        _ = try await client.bytes(Self.large.count)
        #expect(try await client.end() == "\r\n0\r\n\r\n")
        #expect(producer.events.all == ["begun", "wrote", "cancelled"])
        client.close()
        try await drained.next()
    }

    @Test @EventLoopActor func `a stream that would begin while the server drains has no pieces`() async throws {
        let producer = Producer()
        let harness = try Harness(
            limits: limits { $0.drainTimeout = .seconds(600) },
            stream: { _ in producer.stream }
        )
        let drained = Arrivals<Void>()
        let client = try harness.connect()
        try client.send(Self.request("/slow"))
        _ = try await harness.asked.next()
        harness.server.drain { drained.add(()) }
        harness.release("/slow")
        let reply = try await client.reply()
        #expect(reply.field("Connection") == "close")
        #expect(try await client.end() == "0\r\n\r\n")
        #expect(producer.events.all.isEmpty)
        client.close()
        try await drained.next()
    }
}
