internal import Systemd

/// What somebody waits for who wants to know that systemd has nothing more to say of a unit: whether it still holds it.
@EventLoopActor
final class LastWord {
    private var result: Result<Bool, BusError>?
    private var waiter: CheckedContinuation<Result<Bool, BusError>, Never>?

    /// Waits until it has come. Only one can wait.
    func wait() async throws(BusError) -> Bool {
        if let result { return try result.get() }
        return try await withCheckedContinuation { waiter = $0 }.get()
    }

    /// Only the first end counts.
    func end(_ result: Result<Bool, BusError>) {
        guard self.result == nil else { return }
        self.result = result
        waiter?.resume(returning: result)
        waiter = nil
    }
}
