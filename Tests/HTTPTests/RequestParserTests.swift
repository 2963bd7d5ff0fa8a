import Testing

@testable import HTTP

@Suite struct RequestParserTests {
    @Test func `the head is reported before the body has arrived`() throws {
        var parser = RequestParser()
        parser.receive(Array("PUT /v1/x?y=z HTTP/1.1\r\nHost: a:80\r\nContent-Length: 2\r\nA: b\r\n\r\n".utf8))
        guard case .head(let head) = try parser.nextEvent() else {
            Issue.record("no head")
            return
        }
        #expect(head.method == .put)
        #expect(head.target.segments == ["v1", "x"])
        #expect(head.target.query.first("y") == "z")
        #expect(head.version == .http11)
        #expect(head.fields["a"] == "b")
        #expect(head.host == "a:80")
        #expect(head.framing == .length(2))
        #expect(head.keepsConnection)
        #expect(!head.expectsContinue)
        #expect(try parser.nextEvent() == nil)
        parser.receive(Array("hi".utf8))
        #expect(try parser.nextEvent() == .request(Request(head: head, body: Array("hi".utf8))))
        #expect(try parser.nextEvent() == nil)
    }

    @Test func `a request without a body is complete with its head`() {
        let outcome = Outcome("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(outcome.events.count == 2)
        #expect(outcome.heads.first?.framing == BodyFraming.none)
        #expect(outcome.bodies == [""])
    }

    @Test func `pipelined requests come out in order and wait until asked for`() throws {
        var parser = RequestParser()
        let first = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
        let second = "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nT: u\r\n\r\n"
        let third = "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n"
        parser.receive(Array((first + second + third).utf8))
        var targets: [String] = []
        var left: [Int] = []
        while let event = try parser.nextEvent() {
            if case .request(let request) = event {
                targets.append(request.head.target.raw)
                left.append(parser.bufferedByteCount)
            }
        }
        #expect(targets == ["/1", "/2", "/3"])
        #expect(left == [second.utf8.count + third.utf8.count, third.utf8.count, 0])
    }

    @Test(arguments: [0, 1])
    func `a head that comes again is the same, whether it was kept or not`(past: Int) throws {
        let lines = "POST /v1/x?y=z HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nA: "
        let padding = RequestParser.keptHeadBytesLimit - lines.utf8.count - "\r\n\r\n".utf8.count + past
        let head = Array((lines + String(repeating: "b", count: padding) + "\r\n\r\n").utf8)
        var parser = RequestParser()
        var events: [[RequestParser.Event]] = []
        var taken: [Int] = []
        for body in ["hi", "yo"] {
            parser.receive(head + Array(body.utf8))
            events.append([])
            while let event = try parser.nextEvent() {
                events[events.count - 1].append(event)
                if case .head = event { taken.append(parser.headByteCount) }
            }
        }
        #expect(parser.keepsLastHead == (past == 0))
        #expect(events[0].first == events[1].first)
        #expect(taken[0] == taken[1])
        let requests = Outcome([head + Array("hi".utf8) + head + Array("yo".utf8)]).requests
        #expect(events.map(\.last) == requests.map { .request($0) })
    }

    @Test func `another head after one that is kept is parsed`() throws {
        let first = "GET /1 HTTP/1.1\r\nHost: a\r\n"
        let outcome = Outcome([first + "\r\n", first + "A: b\r\n\r\n", first + "\r\n"].map { Array($0.utf8) })
        #expect(outcome.heads.map(\.fields.count) == [1, 2, 1])
        #expect(Outcome([first + "\r\n", first + "\n"].map { Array($0.utf8) }).status == 400)
    }

    @Test func `a failed parser stays failed and takes no more bytes`() {
        var parser = RequestParser()
        parser.receive(Array("GET / HTTP/2.0\r\n".utf8))
        let first = #expect(throws: ParseFailure.self) { try parser.nextEvent() }
        parser.receive(Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
        let second = #expect(throws: ParseFailure.self) { try parser.nextEvent() }
        #expect(first?.status == .httpVersionNotSupported)
        #expect(first == second)
        #expect(parser.bufferedByteCount == 0)
        #expect(!parser.isInsideRequest)
    }

    @Test func `requests before the failure come out`() {
        let outcome = Outcome("GET / HTTP/1.1\r\nHost: a\r\n\r\nGARBAGE\r\n\r\n")
        #expect(outcome.bodies == [""])
        #expect(outcome.status == 400)
    }

    @Test(arguments: [
        ("", false), ("\r", false), ("\r\n", false), ("\r\n\r", false), ("\r\n\r\n", false), ("G", true),
        ("\r\nG", true),
        ("\r\n\r\nG", true), ("\rG", true), ("\n", true), ("\r\n\r\n\r", true), ("GET / HTTP/1.1\r\nHost: a\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false), ("GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\nG", true),
    ])
    func `a parser knows whether it is inside a request`(text: String, expected: Bool) {
        var waiting = RequestParser()
        if text.utf8.count < 8 {
            waiting.receive(Array(text.utf8))
            #expect(waiting.isInsideRequest == expected, "before it is asked for events")
        }
        var asked = RequestParser()
        asked.receive(Array(text.utf8))
        do throws(ParseFailure) {
            while try asked.nextEvent() != nil {}
        } catch {
            return
        }
        #expect(asked.isInsideRequest == expected, "after it was asked for events")
    }

    @Test(arguments: [
        ("HTTP/1.1\r\nHost: a", true), ("HTTP/1.1\r\nHost: a\r\nConnection: close", false),
        ("HTTP/1.1\r\nHost: a\r\nConnection: CLOSE", false), ("HTTP/1.1\r\nHost: a\r\nConnection: x ,\tclose", false),
        ("HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close", false),
        ("HTTP/1.1\r\nHost: a\r\nConnection: x-close", true),
        ("HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close", false), ("HTTP/1.2\r\nHost: a", true),
        ("HTTP/1.0", false), ("HTTP/1.0\r\nConnection: Keep-Alive", true),
        ("HTTP/1.0\r\nConnection: keep-alive, close", false), ("HTTP/1.0\r\nConnection: x", false),
    ])
    func `version and Connection say whether the connection is kept`(rest: String, expected: Bool) {
        #expect(Outcome("GET / \(rest)\r\n\r\n").heads.first?.keepsConnection == expected)
    }

    @Test(arguments: [
        ("HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1", true),
        ("HTTP/1.1\r\nHost: a\r\nExpect: 100-CONTINUE\r\nTransfer-Encoding: chunked", true),
        ("HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0", false),
        ("HTTP/1.1\r\nHost: a\r\nExpect: 100-continue", false),
        ("HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1", false),
        ("HTTP/1.1\r\nHost: a\r\nContent-Length: 1", false),
    ])
    func `a client waits for 100 only with a body and HTTP 1_1`(rest: String, expected: Bool) {
        #expect(Outcome("POST / \(rest)\r\n\r\n").heads.first?.expectsContinue == expected)
    }

    @Test func `whitespace around a field value is not part of it`() {
        let fields = Outcome("GET / HTTP/1.1\r\nHost: a\r\nA: \t b \tc\t \t\r\nB: \t\r\nC:d\r\n\r\n").heads.first?
            .fields
        #expect(fields?["A"] == "b \tc")
        #expect(fields?["B"] == "")
        #expect(fields?["C"] == "d")
    }

    @Test func `the authority of an absolute-form target replaces Host`() {
        #expect(Outcome("GET http://b:1/x HTTP/1.1\r\nHost: a\r\n\r\n").heads.first?.host == "b:1")
        #expect(Outcome("GET /x HTTP/1.0\r\n\r\n").heads.first?.host == nil)
    }

    @Test func `trailers are dropped`() {
        let outcome = Outcome(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nEtag: y\r\n\r\n"
        )
        #expect(outcome.bodies == ["x"])
        #expect(outcome.requests.first?.head.fields.contains("Etag") == false)
    }

    @Test(arguments: [1, 2, 3, 7, 64, 4096])
    func `each byte is looked at a constant number of times`(pieceLength: Int) throws {
        let header = (0..<60).map { "X-\($0): \(String(repeating: "v", count: 500))\r\n" }.joined()
        let chunks = String(repeating: "1;a=b\r\nx\r\n", count: 100) + "0\r\n\r\n"
        let request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\(header)\r\n\(chunks)"
        let input = Array((request + request).utf8)
        var parser = RequestParser()
        for start in stride(from: 0, to: input.count, by: pieceLength) {
            parser.receive(Array(input[start..<min(start + pieceLength, input.count)]))
            while try parser.nextEvent() != nil {}
        }
        #expect(parser.examinedByteCount <= 2 * input.count)
        #expect(parser.buffer.movedByteCount <= input.count)
        #expect(!parser.isInsideRequest)
    }

    @Test func `many requests received at once are each moved at most once on average`() throws {
        let request = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        let input = (0..<20_000).flatMap { _ in request }
        var parser = RequestParser()
        parser.receive(input)
        var requestCount = 0
        while let event = try parser.nextEvent() {
            if case .request = event { requestCount += 1 }
        }
        #expect(requestCount == 20_000)
        #expect(parser.buffer.movedByteCount <= input.count)
        #expect(parser.examinedByteCount <= 2 * input.count)
    }

    @Test func `memory is given back after a large body`() throws {
        var parser = RequestParser()
        parser.receive(Array("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n".utf8))
        parser.receive([UInt8](repeating: 0x78, count: 1_000_000))
        #expect(parser.bufferedByteCount > 1_000_000)
        while let event = try parser.nextEvent() {
            if case .request(let request) = event { #expect(request.body.count == 1_000_000) }
        }
        #expect(parser.bufferedByteCount == 0)
        #expect(parser.buffer.capacity == 0)
        #expect(parser.heldByteCount == 0)
    }

    @Test func `what is held counts from the first byte to the last, with all that is announced`() throws {
        var parser = RequestParser()
        #expect(parser.heldByteCount == 0)
        parser.receive(Array("POST /?\(String(repeating: "&", count: 4000)) HTTP/1.1\r\nHost: a\r\n".utf8))
        #expect(try parser.nextEvent() == nil)
        // Each parameter takes more than the character that began it.
        #expect(parser.heldByteCount > 16 * 4000)
        parser.receive(Array("Content-Length: 100000\r\n\r\n".utf8))
        let beforeHead = parser.heldByteCount
        guard case .head = try parser.nextEvent() else { return #expect(Bool(false)) }
        #expect(parser.heldByteCount > beforeHead + 90_000)
        parser.receive([UInt8](repeating: 0x78, count: 100_000))
        guard case .request = try parser.nextEvent() else { return #expect(Bool(false)) }
        #expect(parser.heldByteCount == 0)
        #expect(parser.headByteCount > 16 * 4000)
    }

    @Test func `a body counts as buffered until it is handed out`() throws {
        var parser = RequestParser()
        parser.receive(Array("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel".utf8))
        while try parser.nextEvent() != nil {}
        #expect(parser.bufferedByteCount == 3)
        parser.receive(Array("lo".utf8))
        while try parser.nextEvent() != nil {}
        #expect(parser.bufferedByteCount == 0)
    }

    @Test func `a reason holds no received bytes`() {
        for example in strictnessTable {
            let reason = Outcome([example.input]).failure?.reason ?? ""
            #expect(!reason.contains("smuggled") && reason.utf8.count < 100)
        }
    }
}
