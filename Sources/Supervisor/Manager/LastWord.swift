internal import Systemd

/// What somebody waits for who wants to know that systemd has nothing more to say of a unit.
@EventLoopActor
final class LastWord {
    private var result: Result<Void, BusError>?
    private var waiter: CheckedContinuation<Void, Never>?

    /// Waits until it has come. Only one can wait.
    func wait() async throws(BusError) {
        if result == nil { await withCheckedContinuation { waiter = $0 } }
        try result?.get()
    }

    /// Only the first end counts.
    func end(_ result: Result<Void, BusError>) {
        guard self.result == nil else { return }
        self.result = result
        waiter?.resume()
        waiter = nil
    }
}
