internal import Systemd

/// Slows down those who try tokens: every answer to a wrong one takes the longer the more there were lately, whoever
/// they came from. Whoever has the right one waits for nobody.
@EventLoopActor
final class AuthenticationBackoff {
    /// A wrong token more and its answer takes so much longer.
    static let step = Duration.milliseconds(50)
    /// The longest that an answer takes.
    static let longest = Duration.seconds(2)
    /// A wrong token is forgotten after so long.
    static let memory = Duration.seconds(10)

    private var moments: [MonotonicClock] = []

    /// How long the answer to a wrong token that came now is to take.
    func delay(at now: MonotonicClock = .now()) -> Duration {
        moments.removeAll { now.duration(since: $0) >= Self.memory }
        // More than that make no difference.
        if moments.count < Int(Self.longest / Self.step) { moments.append(now) }
        return Self.step * (moments.count - 1)
    }
}
