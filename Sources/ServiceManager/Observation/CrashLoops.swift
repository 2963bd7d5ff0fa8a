internal import Services
internal import Systemd

/// Counts unexpected ends of services and detects crash loops: ``CrashLoop``. Keeps no entry for a service that has not
/// ended.
@EventLoopActor
final class CrashLoops {
    private final class Count {
        /// The newest ends, as many as the rules of ``CrashLoop`` need.
        var recent: [MonotonicClock] = []
        /// The number of ends since the last run of ``CrashLoop/steadySeconds``.
        var ends = 0
        var isLoop = false
        var timer: Timer?
    }

    private var counts: [ServiceName: Count] = [:]
    /// ``CrashLoop/steadySeconds``.
    private let steadyTime: Duration
    private let isRunning: @EventLoopActor (ServiceName) -> Bool
    private let ended: @EventLoopActor (ServiceName) -> Void

    /// `ended` is called with a service that has run for ``CrashLoop/steadySeconds`` after a loop.
    init(
        steadyTime: Duration = .seconds(CrashLoop.steadySeconds),
        isRunning: @escaping @EventLoopActor (ServiceName) -> Bool,
        ended: @escaping @EventLoopActor (ServiceName) -> Void
    ) {
        self.steadyTime = steadyTime
        self.isRunning = isRunning
        self.ended = ended
    }

    /// Counts an end; returns the number of ends in a row when it is a crash loop, else nil. `limit`: the start limit.
    func count(_ name: ServiceName, _ limit: RestartLimit?) -> Int? {
        let count = counts[name] ?? Count()
        counts[name] = count
        let now = MonotonicClock.now()
        count.ends += 1
        count.recent.append(now)
        let burst = limit.map(CrashLoop.burstEndsLimit)
        if count.recent.count > max(CrashLoop.endsLimit, burst ?? 0) { count.recent.removeFirst() }
        func isWithin(_ seconds: Int, _ ends: Int) -> Bool {
            guard count.recent.count >= ends else { return false }
            return now.duration(since: count.recent[count.recent.count - ends]) <= .seconds(seconds)
        }
        count.isLoop =
            count.isLoop || isWithin(CrashLoop.windowSeconds, CrashLoop.endsLimit)
            || limit.map { isWithin($0.seconds, CrashLoop.burstEndsLimit($0)) } ?? false
        arm(count, name)
        return count.isLoop ? count.ends : nil
    }

    /// Handles the beginning of a run: it ends the loop after ``CrashLoop/steadySeconds``.
    func restarted(_ name: ServiceName) {
        guard let count = counts[name] else { return }
        arm(count, name)
    }

    /// Forgets the ends: the service was started, stopped or deleted on request.
    func forget(_ name: ServiceName) { counts[name] = nil }

    private func arm(_ count: Count, _ name: ServiceName) {
        if count.timer == nil { count.timer = try? Timer { [weak self] in self?.elapsed(name) } }
        count.timer?.arm(after: steadyTime)
    }

    private func elapsed(_ name: ServiceName) {
        guard let count = counts[name] else { return }
        // The delay before the automatic restart can be longer than the timer.
        guard isRunning(name) else { return arm(count, name) }
        counts[name] = nil
        if count.isLoop { ended(name) }
    }
}
