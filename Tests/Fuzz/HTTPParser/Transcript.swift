import FuzzSupport
import HTTP

/// What a parser says about bytes that come in pieces, up to the end of the connection.
struct Transcript: Equatable {
    private(set) var events: [RequestParser.Event] = []
    private(set) var failure: ParseFailure?
    private(set) var isInsideRequest = false

    init(_ pieces: [[UInt8]], _ limits: Limits) {
        var parser = RequestParser(limits: limits)
        for piece in pieces {
            parser.receive(piece)
            do throws(ParseFailure) {
                while let event = try parser.nextEvent() {
                    events.append(event)
                    // The server closes after it; what follows is not a request.
                    if case .request(let request) = event, !request.head.keepsConnection { return }
                }
            } catch {
                failure = error
                require(parser.bufferedByteCount == 0, "after a failure nothing is held")
                return
            }
            // A line end may have to wait for its second byte.
            let most = limits.headerBytesLimit + limits.bodyBytesLimit + 2
            require(parser.bufferedByteCount <= most, "no more is held than the limits allow", parser.bufferedByteCount)
        }
        isInsideRequest = parser.isInsideRequest
    }

    /// The input in pieces whose lengths depend on all of it.
    static func pieces(of input: [UInt8]) -> [[UInt8]] {
        var state = input.reduce(UInt64(0xCBF2_9CE4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        var pieces: [[UInt8]] = []
        var rest = input[...]
        while !rest.isEmpty {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            // Short ones, and now and then a long one.
            let length = 1 + Int(state >> 32) % (state >> 61 == 0 ? 512 : 12)
            pieces.append(Array(rest.prefix(length)))
            rest = rest.dropFirst(length)
        }
        return pieces
    }

    var requests: [Request] {
        events.compactMap { if case .request(let request) = $0 { request } else { nil } }
    }

    /// Heads and requests take turns, and each request has the head before it.
    func checkOrder() {
        var head: RequestHead?
        for event in events {
            switch event {
            case .head(let next):
                require(head == nil, "a head comes after a complete request", events)
                head = next
            case .request(let request):
                require(request.head == head, "a request has the head that came before it", events)
                head = nil
            }
        }
    }
}

extension Limits {
    /// Limits that a short input reaches, every one of them.
    static let low = {
        var limits = Limits()
        limits.requestTargetBytesLimit = 40
        limits.headerBytesLimit = 160
        limits.headerFieldsLimit = 6
        limits.bodyBytesLimit = 24
        limits.chunkLineBytesLimit = 12
        limits.methodBytesLimit = 8
        return limits
    }()
}
