public import HTTP
internal import Services

/// Requests that were answered, counted by route, method and status.
///
/// Labels are not under a client's control: routes are patterns of the route table, and unknown methods are counted as
/// one. So the number of counters is at most the number of routes times a few methods and statuses.
public struct RequestMetrics: Sendable {
    /// The labels of the latency histograms.
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

    /// Counts a request. `route` is ``API/Reply/route``; `method` is nil for a request that could not be parsed.
    public mutating func count(route: String?, method: Method?, status: StatusCode, _ duration: Duration) {
        let isKnown = method.map(Self.methods.contains) ?? false
        let endpoint = Endpoint(route: route ?? "none", method: isKnown ? method?.rawValue ?? "other" : "other")
        answers[endpoint, default: Answers()].count(status, duration)
    }

    /// The methods of the route table, and others that browsers and common clients send.
    private static let methods: [Method] = [.get, .head, .post, .put, .delete, .patch, .options]
}

extension RequestMetrics.Answers {
    fileprivate mutating func count(_ status: StatusCode, _ duration: Duration) {
        durations.count(duration)
        statuses[status.code, default: 0] += 1
    }
}
