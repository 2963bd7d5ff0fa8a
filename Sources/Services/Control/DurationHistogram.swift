/// Durations counted by their size: how many took at most so long. Its size does not grow with what it has seen.
public struct DurationHistogram: Equatable, Sendable {
    /// The longest duration that each bucket takes; the last bucket, without a bound, takes the rest. They reach from
    /// an answer out of memory to a client's wait for a service to be ready.
    public static let bounds: [Duration] = [
        .microseconds(500), .milliseconds(1), .microseconds(2500), .milliseconds(5), .milliseconds(10),
        .milliseconds(25), .milliseconds(50), .milliseconds(100), .milliseconds(250), .milliseconds(500), .seconds(1),
        .milliseconds(2500), .seconds(5), .seconds(10), .seconds(30),
    ]

    private var buckets = [Int](repeating: 0, count: bounds.count + 1)
    /// All of them together.
    public private(set) var sum = Duration.zero

    public init() {}

    public mutating func count(_ duration: Duration) {
        buckets[Self.bounds.firstIndex { duration <= $0 } ?? Self.bounds.count] += 1
        sum += duration
    }

    /// How many there were that each bound takes, and last how many in all.
    public var cumulativeCounts: [Int] {
        var total = 0
        return buckets.map { count in
            total += count
            return total
        }
    }
}
