internal import Services
internal import Systemd

/// A job that systemd has queued: org.freedesktop.systemd1(5), `JobRemoved`.
@EventLoopActor
final class Job {
    /// The result that systemd reports: "done", "failed", "canceled", "timeout", "dependency", "skipped" …; "unknown"
    /// if it reported none.
    typealias Result = String

    static let done = "done"
    static let canceled = "canceled"

    /// Why a wait for a job has failed.
    enum Failure: Error {
        case disconnected
        case timeout
    }

    private let promise = Promise<Swift.Result<Result, Failure>>()

    /// Waits until systemd has ended the job, without a limit unless a time-out is given. Throws `timeout`, which does
    /// not cancel the job, and `disconnected`.
    func result(within timeout: Duration? = nil) async throws(Failure) -> Result {
        guard let timeout else { return try await promise.wait().get() }
        guard let result = await promise.wait(atMost: timeout) else { throw .timeout }
        return try result.get()
    }

    /// Ends the job; later calls have no effect.
    func end(_ result: Swift.Result<Result, Failure>) { promise.fulfil(result) }
}
