import HTTP
import Testing

/// Each limit at its figure and one above it, with the whole input at once and byte by byte.
@Suite struct LimitsTests {
    private func status(_ input: String, _ limits: Limits = Limits()) -> Int? {
        let whole = Outcome(input, limits: limits)
        #expect(Outcome(input.utf8.map { [$0] }, limits: limits) == whole)
        #expect(whole.failure != nil || whole.requests.count == 1)
        return whole.status
    }

    private func text(_ count: Int) -> String {
        String(repeating: "x", count: count)
    }

    @Test func `the request target`() {
        #expect(status("GET /\(text(8191)) HTTP/1.1\r\nHost: a\r\n\r\n") == nil)
        #expect(status("GET /\(text(8192)) HTTP/1.1\r\nHost: a\r\n\r\n") == 414)
        #expect(status("GET /\(text(100_000))") == 414)
        #expect(status("OPTIONS /?\(text(8190)) HTTP/1.1\r\nHost: a\r\n\r\n") == nil)
        #expect(status("OPTIONS /?\(text(8191)) HTTP/1.1\r\nHost: a\r\n\r\n") == 414)
    }

    @Test func `the method`() {
        #expect(status("\(text(32)) / HTTP/1.1\r\nHost: a\r\n\r\n") == nil)
        #expect(status("\(text(33)) / HTTP/1.1\r\nHost: a\r\n\r\n") == 501)
        #expect(status(text(33)) == 501)
    }

    @Test func `the header section with its request line`() {
        let rest = "GET / HTTP/1.1\r\nHost: a\r\nA: \r\n\r\n".utf8.count
        #expect(status("GET / HTTP/1.1\r\nHost: a\r\nA: \(text(32 * 1024 - rest))\r\n\r\n") == nil)
        #expect(status("GET / HTTP/1.1\r\nHost: a\r\nA: \(text(32 * 1024 - rest + 1))\r\n\r\n") == 431)
        #expect(status("GET / HTTP/1.1\r\nHost: a\r\nA: \(text(100_000))") == 431)
    }

    @Test func `a header limit below the target limit`() {
        var limits = Limits()
        limits.headerBytesLimit = 27
        #expect(status("GET / HTTP/1.1\r\nHost: ab\r\n\r\n", limits) == 431)
        #expect(status("GET / HTTP/1.1\r\nHost: a\r\n\r\n", limits) == nil)
        limits.headerBytesLimit = 25
        #expect(status("GET / HTTP/1.1\r\nHost: a\r\n\r\n", limits) == 431)
        limits.headerBytesLimit = 15
        #expect(status("GET / HTTP/1.1\r\nHost: a\r\n\r\n", limits) == 431)
    }

    @Test func `the number of field lines`() {
        let lines = String(repeating: "A: b\r\n", count: 99)
        #expect(status("GET / HTTP/1.1\r\nHost: a\r\n\(lines)\r\n") == nil)
        #expect(status("GET / HTTP/1.1\r\nHost: a\r\n\(lines)A: b\r\n\r\n") == 431)
    }

    @Test func `the number of field lines with those of the trailer section`() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        let lines = String(repeating: "A: b\r\n", count: 98)
        #expect(status("\(head)\(lines)\r\n") == nil)
        #expect(status("\(head)\(lines)A: b\r\n\r\n") == 431)
    }

    @Test func `the trailer section counts with the header section`() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        let room = 32 * 1024 - head.utf8.count - "A: \r\n\r\n".utf8.count
        #expect(status("\(head)0\r\nA: \(text(room))\r\n\r\n") == nil)
        #expect(status("\(head)0\r\nA: \(text(room + 1))\r\n\r\n") == 431)
    }

    @Test func `the extensions of all chunks count with the header section`() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        let room = 32 * 1024 - head.utf8.count - "\r\n".utf8.count
        let chunk = "1;\(text(199))\r\nx\r\n"
        let chunks = String(repeating: chunk, count: room / 200)
        let last = room % 200
        #expect(status("\(head)\(chunks)0;\(text(last - 1))\r\n\r\n") == nil)
        #expect(status("\(head)\(chunks)0;\(text(last))\r\n\r\n") == 431)
    }

    @Test func `a chunk-size line`() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        #expect(status("\(head)0;\(text(254))\r\n\r\n") == nil)
        #expect(status("\(head)0;\(text(255))\r\n\r\n") == 400)
        #expect(status("\(head)\(String(repeating: "0", count: 257))") == 400)
    }

    @Test func `a body with a length`() {
        var limits = Limits()
        limits.bodyBytesLimit = 5
        #expect(status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", limits) == nil)
        #expect(status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n", limits) == 413)
        #expect(Outcome("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n", limits: limits).heads.isEmpty)
    }

    @Test func `a chunked body`() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        var limits = Limits()
        limits.bodyBytesLimit = 5
        #expect(status("\(head)5\r\nhello\r\n0\r\n\r\n", limits) == nil)
        #expect(status("\(head)2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", limits) == nil)
        #expect(status("\(head)6\r\n", limits) == 413)
        #expect(status("\(head)2\r\nhe\r\n4\r\n", limits) == 413)
    }

    @Test func `a body of the default limit`() {
        let body = text(1024 * 1024)
        let accepted = Outcome("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n\(body)")
        #expect(accepted.requests.first?.body.count == 1024 * 1024)
        #expect(Outcome("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n").status == 413)
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100000\r\n\(body)\r\n"
        #expect(Outcome("\(chunked)0\r\n\r\n").requests.first?.body.count == 1024 * 1024)
        #expect(Outcome("\(chunked)1\r\n").status == 413)
    }

    @Test func `limits begin anew with each request`() {
        let filler = text(30_000)
        let request = "GET / HTTP/1.1\r\nHost: a\r\nA: \(filler)\r\n\r\n"
        #expect(Outcome(request + request + request).requests.count == 3)
    }
}
