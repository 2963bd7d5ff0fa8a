internal import Services
internal import Systemd

/// A job that systemd has queued: org.freedesktop.systemd1(5), `JobRemoved`.
@EventLoopActor
final class Job {
    /// Its result in systemd's words: "done", "failed", "canceled", "timeout", "dependency", "skipped" …
    typealias Result = String

    /// What the wait for a job can end with instead.
    enum Failure: Error {
        case disconnected
        case timeout
    }

    private enum State {
        case queued([CheckedContinuation<Swift.Result<Result, Failure>, Never>])
        case ended(Swift.Result<Result, Failure>)
    }

    private var state = State.queued([])

    /// Waits until systemd has ended the job.
    func result(within timeout: Duration) async throws(Failure) -> Result {
        if case .ended(let result) = state { return try result.get() }
        let timer: Timer?
        do throws(SystemError) {
            timer = try Timer { [weak self] in self?.end(.failure(.timeout)) }
            timer?.arm(after: timeout)
        } catch {
            // Without memory for a timer the wait has no end of its own; systemd's own time-outs end the job.
            timer = nil
        }
        let result = await withCheckedContinuation { continuation in
            guard case .queued(let waiting) = state else { preconditionFailure("the job ended without a suspension") }
            state = .queued(waiting + [continuation])
        }
        timer?.cancel()
        return try result.get()
    }

    /// Ends it; only the first end counts.
    func end(_ result: Swift.Result<Result, Failure>) {
        guard case .queued(let waiting) = state else { return }
        state = .ended(result)
        for continuation in waiting { continuation.resume(returning: result) }
    }
}
