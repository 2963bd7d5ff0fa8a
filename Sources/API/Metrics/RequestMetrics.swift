public import HTTP
internal import Services

/// Requests that were answered, counted by route, method and status.
///
/// What a client can choose is not in it: routes are patterns of the route table, and methods that the API does not
/// know are one. So there are never more counters than the table has lines, times a few methods and statuses.
public struct RequestMetrics: Sendable {
    /// What latencies are told apart by.
    struct Endpoint: Hashable, Comparable {
        let route: String
        let method: String

        static func < (left: Endpoint, right: Endpoint) -> Bool {
            (left.route, left.method) < (right.route, right.method)
        }
    }

    /// What was answered at an endpoint.
    struct Answers {
        var durations = DurationHistogram()
        var statuses: [Int: Int] = [:]
    }

    private(set) var answers: [Endpoint: Answers] = [:]

    public init() {}

    /// Counts a request. `route` is what ``API/Reply`` says; without a method it could not be read.
    public mutating func count(route: String?, method: Method?, status: StatusCode, _ duration: Duration) {
        let isKnown = method.map(Self.methods.contains) ?? false
        let endpoint = Endpoint(route: route ?? "none", method: isKnown ? method?.rawValue ?? "other" : "other")
        answers[endpoint, default: Answers()].count(status, duration)
    }

    /// The methods of the route table, and what browsers and the usual clients send besides.
    private static let methods: [Method] = [.get, .head, .post, .put, .delete, .patch, .options]
}

extension RequestMetrics.Answers {
    fileprivate mutating func count(_ status: StatusCode, _ duration: Duration) {
        durations.count(duration)
        statuses[status.code, default: 0] += 1
    }
}
