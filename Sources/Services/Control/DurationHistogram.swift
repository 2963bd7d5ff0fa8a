/// A histogram of durations with fixed buckets: its size does not depend on the number of durations.
public struct DurationHistogram: Equatable, Sendable {
    /// The upper bound of each bucket; a last bucket without a bound takes the rest. The range is from an answer from
    /// memory to a client's wait for a service to be ready.
    public static let bounds: [Duration] = [
        .microseconds(500), .milliseconds(1), .microseconds(2500), .milliseconds(5), .milliseconds(10),
        .milliseconds(25), .milliseconds(50), .milliseconds(100), .milliseconds(250), .milliseconds(500), .seconds(1),
        .milliseconds(2500), .seconds(5), .seconds(10), .seconds(30),
    ]

    private var buckets = [Int](repeating: 0, count: bounds.count + 1)
    /// The sum of all durations.
    public private(set) var sum = Duration.zero

    public init() {}

    public mutating func count(_ duration: Duration) {
        buckets[Self.bounds.firstIndex { duration <= $0 } ?? Self.bounds.count] += 1
        sum += duration
    }

    /// The number of durations up to each bound, and last the number of all.
    public var cumulativeCounts: [Int] {
        var total = 0
        return buckets.map { count in
            total += count
            return total
        }
    }
}
