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

    private let promise = Promise<Swift.Result<Result, Failure>>()

    /// Waits until systemd has ended the job, for ever unless a time-out is given. The job itself goes on when a wait
    /// for it times out.
    func result(within timeout: Duration? = nil) async throws(Failure) -> Result {
        guard let timeout else { return try await promise.wait().get() }
        guard let result = await promise.wait(atMost: timeout) else { throw .timeout }
        return try result.get()
    }

    /// Ends it; only the first end counts.
    func end(_ result: Swift.Result<Result, Failure>) { promise.fulfil(result) }
}
