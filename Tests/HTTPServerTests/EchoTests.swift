import HTTPServer
import Systemd
import TestSupport
import Testing

@testable import http_echo

@Suite(.onEventLoop) struct EchoTests {
    /// Lives as long as the process, as in the program itself.
    @EventLoopActor private static let server = Result { () throws(SystemError) in try Server(Echo.handler) }

    @EventLoopActor
    private func connect() throws -> Client {
        let server = try Self.server.get()
        var client: Client?
        try FileDescriptor.streamPair { near, far throws(SystemError) in
            try server.serve(near, .tcp(nil))
            client = try? Client(far)
        }
        return try #require(client)
    }

    @Test @EventLoopActor func `every method on every path is answered`() async throws {
        let client = try connect()
        for line in ["GET /", "PUT /a/b?c", "OPTIONS *", "BREW /pot"] {
            try client.send("\(line) HTTP/1.1\r\nHost: a\r\n\r\n")
            let reply = try await client.reply()
            #expect(reply.status == "200 OK")
            #expect(reply.text == "ok\n")
        }
        try client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try await client.reply(isToHEAD: true).field("Content-Length") == "3")
    }

    @Test @EventLoopActor func `a POST gets its body back`() async throws {
        let client = try connect()
        try client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        #expect(try await client.reply().text == "hi")
    }

    @Test @EventLoopActor func `echo gives the header lines back`() async throws {
        let client = try connect()
        try client.send("GET /echo HTTP/1.1\r\nHost: a\r\nX:  b \r\nx: c\r\n\r\n")
        #expect(try await client.reply().text == "Host: a\nX: b\nx: c\n")
    }

    @Test @EventLoopActor func `what is no request is refused and ends the connection`() async throws {
        let client = try connect()
        try client.send("GET / HTTP/1.1\r\n\r\n")
        let reply = try await client.reply()
        #expect(reply.status == "400 Bad Request")
        #expect(reply.field("Connection") == "close")
        #expect(try await client.end() == "")
    }
}
