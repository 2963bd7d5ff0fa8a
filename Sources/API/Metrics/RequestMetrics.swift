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

    private(set) var durations: [Endpoint: DurationHistogram] = [:]
    private(set) var statuses: [Endpoint: [Int: Int]] = [:]

    public init() {}

    /// Counts a request. `route` is what ``API/route(of:)`` says; without a method it could not be read.
    public mutating func count(route: String?, method: Method?, status: StatusCode, _ duration: Duration) {
        let isKnown = method.map(Self.methods.contains) ?? false
        let endpoint = Endpoint(route: route ?? "none", method: isKnown ? method?.rawValue ?? "other" : "other")
        durations[endpoint, default: DurationHistogram()].count(duration)
        statuses[endpoint, default: [:]][status.code, default: 0] += 1
    }

    /// The methods of the route table, and what browsers and the usual clients send besides.
    private static let methods: Set<Method> = [.get, .head, .post, .put, .delete, .patch, .options]
}

extension API {
    /// The pattern of the route table that a request fits, as it is below the first mount; nil when there is none.
    public func route(of head: RequestHead) -> String? {
        guard case .found(let route, _) = router.route(head.method, head.target.segments) else { return nil }
        for mount in Routes.mounts where route.pattern.hasPrefix(mount) {
            return Routes.mounts[0] + route.pattern.dropFirst(mount.count)
        }
        return route.pattern
    }
}
