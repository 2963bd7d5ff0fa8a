import HTTP

/// What a parser makes of some input: the events up to the first that is missing, and the failure if there was one.
struct Outcome: Equatable {
    var events: [RequestParser.Event] = []
    var failure: ParseFailure?
    /// Whether what is left is the beginning of a request.
    var isInsideRequest = false

    /// Feeds the pieces one after another and asks for all events after each.
    init(_ pieces: [[UInt8]], limits: Limits = Limits()) {
        var parser = RequestParser(limits: limits)
        for piece in pieces {
            parser.receive(piece)
            do throws(ParseFailure) {
                while let event = try parser.nextEvent() {
                    events.append(event)
                }
            } catch {
                failure = error
                return
            }
        }
        isInsideRequest = parser.isInsideRequest
    }

    init(_ text: String, limits: Limits = Limits()) {
        self.init([Array(text.utf8)], limits: limits)
    }

    var requests: [Request] {
        events.compactMap { event in
            switch event {
            case .request(let request): request
            case .head: nil
            }
        }
    }

    var heads: [RequestHead] {
        events.compactMap { event in
            switch event {
            case .head(let head): head
            case .request: nil
            }
        }
    }

    var bodies: [String] {
        requests.map { String(decoding: $0.body, as: UTF8.self) }
    }

    var status: Int? {
        failure?.status.code
    }
}
