import FuzzSupport
import Glibc
import HTTP

/// An input is what a client sends over one connection. It is parsed with the limits of the API, and with limits so low
/// that short inputs reach them. Each time these hold:
///
/// 1. However the bytes are cut into pieces, the same events and the same failure come out: in one piece, in pieces
///    that the input chooses, byte by byte.
/// 2. What is held for requests that are not complete is within the limits.
/// 3. Whatever is accepted is a request in the strictest sense (`Rules`), and a reader that knows nothing but CRLF,
///    colons and lengths finds the same requests at the same places (`WireReader`).
/// 4. A request that is written out and parsed again is the same request.
func property(_ input: [UInt8]) {
    for limits in [Limits(), .low] {
        let whole = Transcript([input], limits)
        require(Transcript(input.map { [$0] }, limits) == whole, "bytes one by one give the same events", limits)
        let pieces = Transcript.pieces(of: input)
        require(Transcript(pieces, limits) == whole, "any pieces give the same events", pieces.map(\.count))
        whole.checkOrder()
        var reader = WireReader(input)
        for request in whole.requests {
            Rules.check(request, limits)
            reader.check(request)
            checkRoundTrip(request)
        }
    }
}

/// Writes a request in the plainest form and parses it with limits that it cannot exceed.
func checkRoundTrip(_ request: Request) {
    let head = request.head
    let version = head.version == .http11 ? "HTTP/1.1" : "HTTP/1.0"
    var bytes = Array("\(head.method) \(head.target.raw) \(version)\r\n".utf8)
    for field in head.fields { bytes += Array("\(field.name): \(field.value)\r\n".utf8) }
    bytes += Array("\r\n".utf8)
    if head.framing == .chunked {
        bytes += ResponseEncoder.chunk(request.body) + ResponseEncoder.lastChunk
    } else {
        bytes += request.body
    }
    var limits = Limits()
    limits.headerBytesLimit *= 2
    let again = Transcript([bytes], limits)
    require(again.events == [.head(head), .request(request)], "what is written out is the same request", again)
    require(again.failure == nil && !again.isInsideRequest, "what is written out is one request", again)
}

exit(Fuzzer.run(property))
