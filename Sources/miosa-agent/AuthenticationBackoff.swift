internal import Systemd

/// Slows down guessing of tokens: the answer to a wrong token is delayed by ``step`` for each wrong token of the last
/// 10 s (``memory``), from all clients together. Requests with the right token are not delayed.
@EventLoopActor
final class AuthenticationBackoff {
    /// The delay that each wrong token adds to the next answer.
    static let step = Duration.milliseconds(50)
    /// The limit of the delay.
    static let longest = Duration.seconds(2)
    /// The time for which a wrong token is counted.
    static let memory = Duration.seconds(10)

    private var moments: [MonotonicClock] = []

    /// Counts a wrong token, and returns the delay of its answer.
    func delay(at now: MonotonicClock = .now()) -> Duration {
        moments.removeAll { now.duration(since: $0) >= Self.memory }
        // At most 40 (``longest`` / ``step``) are counted: that bounds the delay and the memory.
        if moments.count < Int(Self.longest / Self.step) { moments.append(now) }
        return Self.step * (moments.count - 1)
    }
}
