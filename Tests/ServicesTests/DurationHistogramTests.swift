import Services
import Testing

struct DurationHistogramTests {
    @Test func `a duration counts for every bound that it does not exceed`() {
        var histogram = DurationHistogram()
        histogram.count(.zero)
        histogram.count(.milliseconds(1))
        histogram.count(.milliseconds(1) + .nanoseconds(1))
        histogram.count(.seconds(30))
        histogram.count(.seconds(31))
        let counts = histogram.cumulativeCounts
        #expect(counts.count == DurationHistogram.bounds.count + 1)
        let atMost = Dictionary(uniqueKeysWithValues: zip(DurationHistogram.bounds, counts))
        #expect(atMost[.microseconds(500)] == 1)
        #expect(atMost[.milliseconds(1)] == 2)
        #expect(atMost[.microseconds(2500)] == 3)
        #expect(atMost[.seconds(10)] == 3)
        #expect(atMost[.seconds(30)] == 4)
        #expect(counts.last == 5)
        #expect(histogram.sum == .milliseconds(61_002) + .nanoseconds(1))
    }

    @Test func `the bounds ascend`() {
        #expect(DurationHistogram.bounds == DurationHistogram.bounds.sorted())
        #expect(Set(DurationHistogram.bounds).count == DurationHistogram.bounds.count)
    }

    @Test func `what has seen nothing has counted nothing`() {
        #expect(DurationHistogram().cumulativeCounts.allSatisfy { $0 == 0 })
        #expect(DurationHistogram().sum == .zero)
    }
}
