import Testing

@testable import HTTP

@Suite struct ResponseEncoderTests {
    private let date = "Sun, 06 Nov 1994 08:49:37 GMT"

    private func encode(
        _ response: Response,
        to method: Method? = .get,
        keepsConnection: Bool = true,
        version: HTTPVersion = .http11,
        date: String? = nil
    ) -> String {
        let (head, body) = ResponseEncoder.encode(
            response,
            to: method,
            keepsConnection: keepsConnection,
            version: version,
            date: date
        )
        return String(decoding: head + body, as: UTF8.self)
    }

    @Test(arguments: [
        (ResponseEncoder.joinedBodyBytesLimit, Method.get, 0), (ResponseEncoder.joinedBodyBytesLimit + 1, .get, 1),
        (ResponseEncoder.joinedBodyBytesLimit + 1, .head, 0),
    ])
    func `a long body stays by itself`(bytes: Int, method: Method, alone: Int) {
        let response = Response(status: .ok, body: [UInt8](repeating: 0x78, count: bytes))
        let (head, body) = ResponseEncoder.encode(
            response,
            to: method,
            keepsConnection: true,
            version: .http11,
            date: nil
        )
        let text = "HTTP/1.1 200 OK\r\nContent-Length: \(bytes)\r\n\r\n"
        #expect(String(decoding: head.prefix(text.utf8.count), as: UTF8.self) == text)
        #expect(body.count == alone * bytes)
        #expect(head.count == text.utf8.count + (method == .head ? 0 : (1 - alone) * bytes))
    }

    @Test func `a response has status line, date, length, fields in order, and body`() {
        let response = Response(status: .ok, fields: ["B": "1", "A": "2", "B": "3"], body: Array("hé".utf8))
        #expect(
            encode(response, date: date)
                == "HTTP/1.1 200 OK\r\nDate: \(date)\r\nContent-Length: 3\r\nB: 1\r\nA: 2\r\nB: 3\r\n\r\nhé"
        )
    }

    @Test func `a body of text names its type`() {
        #expect(
            encode(Response(status: .notFound, text: "no"))
                == "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nno"
        )
    }

    @Test func `an empty body has a length`() {
        #expect(encode(Response(status: .created)) == "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    }

    @Test func `HEAD has the length of GET and no body`() {
        let response = Response(status: .ok, body: Array("hello".utf8))
        #expect(encode(response, to: .head) == "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    }

    @Test func `a response to no request has its body`() {
        let response = Response(status: .badRequest, body: Array("x".utf8))
        #expect(
            encode(response, to: nil, keepsConnection: false)
                == "HTTP/1.1 400 Bad Request\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
        )
    }

    @Test(arguments: [StatusCode.noContent, .notModified, .continue])
    func `a status without content has neither length nor body`(status: StatusCode) {
        let response = Response(status: status, body: Array("x".utf8))
        #expect(encode(response) == "HTTP/1.1 \(status)\r\n\r\n")
    }

    @Test func `HTTP 1_0 is told when the connection is kept`() {
        let response = Response(status: .ok)
        #expect(
            encode(response, version: .http10)
                == "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
        )
        #expect(
            encode(response, keepsConnection: false, version: .http10)
                == "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    }

    @Test func `an unregistered status has an empty phrase after its space`() {
        #expect(encode(Response(status: StatusCode(code: 299))).hasPrefix("HTTP/1.1 299 \r\n"))
    }

    @Test func `the interim response is as it must be`() {
        #expect(String(decoding: ResponseEncoder.continueResponse, as: UTF8.self) == "HTTP/1.1 100 Continue\r\n\r\n")
    }

    @Test func `a stream is chunked in HTTP 1_1 and ends with the connection in HTTP 1_0`() {
        let chunked = ResponseEncoder.encodeStreamHead(
            status: .ok,
            fields: ["A": "b"],
            keepsConnection: true,
            version: .http11,
            date: date
        )
        #expect(
            String(decoding: chunked, as: UTF8.self)
                == "HTTP/1.1 200 OK\r\nDate: \(date)\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n"
        )
        let plain = ResponseEncoder.encodeStreamHead(
            status: .ok,
            fields: [:],
            keepsConnection: false,
            version: .http10,
            date: nil
        )
        #expect(String(decoding: plain, as: UTF8.self) == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    }

    @Test func `a chunk has its size in hexadecimal and no bytes are no chunk`() {
        let chunk = ResponseEncoder.chunk([UInt8](repeating: 0x78, count: 26))
        #expect(String(decoding: chunk, as: UTF8.self) == "1a\r\n\(String(repeating: "x", count: 26))\r\n")
        #expect(ResponseEncoder.chunk([]).isEmpty)
        #expect(String(decoding: ResponseEncoder.lastChunk, as: UTF8.self) == "0\r\n\r\n")
    }

    @Test func `a field value with a line end is a bug`() async {
        await #expect(processExitsWith: .failure) {
            let response = Response(status: .ok, fields: ["A": "b\r\nC: d"])
            _ = ResponseEncoder.encode(response, to: .get, keepsConnection: true, version: .http11, date: nil)
        }
    }

    @Test func `a length of the caller's own is a bug`() async {
        await #expect(processExitsWith: .failure) {
            let response = Response(status: .ok, fields: ["content-length": "5"])
            _ = ResponseEncoder.encode(response, to: .get, keepsConnection: true, version: .http11, date: nil)
        }
    }
}
