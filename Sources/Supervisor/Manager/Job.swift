internal import Services
internal import Systemd

/// A job that systemd has queued: org.freedesktop.systemd1(5), `JobRemoved`.
@EventLoopActor
final class Job {
    /// Its result in systemd's words: "done", "failed", "canceled", "timeout", "dependency", "skipped" …;
    /// "unknown" where systemd did not say.
    typealias Result = String

    static let done = "done"
    static let canceled = "canceled"

    /// What the wait for a job can end with instead.
    enum Failure: Error {
        case disconnected
        case timeout
    }

    private typealias Waiter = CheckedContinuation<Swift.Result<Result, Failure>, Never>

    private enum State {
        case queued
        case ended(Swift.Result<Result, Failure>)
    }

    private var state = State.queued
    private var waiters: [Int: Waiter] = [:]
    private var waitersCount = 0

    /// Waits until systemd has ended the job, for ever unless a time-out is given. The job itself goes on when a wait
    /// for it times out.
    func result(within timeout: Duration? = nil) async throws(Failure) -> Result {
        if case .ended(let result) = state { return try result.get() }
        waitersCount += 1
        let number = waitersCount
        var timer: Timer?
        if let timeout {
            // Without memory for a timer the wait has no end of its own; systemd's own time-outs end the job.
            timer = try? Timer { [weak self] in
                self?.waiters.removeValue(forKey: number)?.resume(returning: .failure(.timeout))
            }
            timer?.arm(after: timeout)
        }
        let result = await withCheckedContinuation { waiters[number] = $0 }
        timer?.cancel()
        return try result.get()
    }

    /// Ends it; only the first end counts.
    func end(_ result: Swift.Result<Result, Failure>) {
        guard case .queued = state else { return }
        state = .ended(result)
        let waiting = waiters.sorted { $0.key < $1.key }
        waiters = [:]
        for (_, waiter) in waiting { waiter.resume(returning: result) }
    }
}
