internal import CSystemd
internal import Glibc

/// A moment of CLOCK_REALTIME in microseconds since 1970, systemd's own resolution.
public struct WallClock: Comparable, Hashable, Sendable {
    public let microseconds: Int64

    public init(microseconds: Int64) { self.microseconds = microseconds }

    /// The present time, with the clock's full precision (the kernel's file times have that of a tick).
    public static func now() -> WallClock {
        var time = Glibc.timespec()
        // Fails only for a clock that does not exist.
        _ = unsafe clock_gettime(CLOCK_REALTIME, &time)
        return WallClock(time)
    }

    init(_ time: timespec) {
        microseconds = Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }

    var timespec: Glibc.timespec {
        Glibc.timespec(tv_sec: Int(microseconds / 1_000_000), tv_nsec: Int(microseconds % 1_000_000) * 1000)
    }

    func advanced(byMicroseconds step: Int64) -> WallClock { WallClock(microseconds: microseconds + step) }

    public static func < (left: WallClock, right: WallClock) -> Bool { left.microseconds < right.microseconds }
}

/// A moment of CLOCK_MONOTONIC, for durations: it is not affected by changes of the wall clock.
public struct MonotonicClock: Sendable {
    private let nanoseconds: Int64

    /// The time since boot, with pauses: CLOCK_BOOTTIME.
    public static func sinceBoot() -> Duration {
        var time = timespec()
        // Fails only for a clock that does not exist.
        _ = unsafe clock_gettime(CLOCK_BOOTTIME, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    public static func now() -> MonotonicClock {
        var time = timespec()
        // Fails only for a clock that does not exist.
        _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicClock(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    /// Microseconds of the clock, rounded up.
    var microseconds: UInt64 { UInt64((nanoseconds + 999) / 1000) }

    /// The moment after a duration.
    public func advanced(by duration: Duration) -> MonotonicClock {
        MonotonicClock(nanoseconds: nanoseconds + Int64(duration / .nanoseconds(1)))
    }

    /// The time from that moment to this one.
    public func duration(since earlier: MonotonicClock) -> Duration {
        .nanoseconds(nanoseconds - earlier.nanoseconds)
    }
}
