internal import Systemd

/// One who waits for something to change, but not for ever.
@EventLoopActor
final class ChangeWaiter {
    private var continuation: CheckedContinuation<Void, Never>?
    private var timer: Timer?

    init() throws(SystemError) {
        timer = try Timer { [weak self] in self?.end() }
    }

    /// Waits for ``end()``, or until the time is over.
    func wait(atMost duration: Duration) async {
        timer?.arm(after: duration)
        await withCheckedContinuation { continuation = $0 }
        timer = nil
    }

    func end() {
        continuation?.resume()
        continuation = nil
    }
}
