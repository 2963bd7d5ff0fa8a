internal import Systemd

/// One who waits for something to change, but not for ever.
@EventLoopActor
final class ChangeWaiter {
    private var continuation: CheckedContinuation<Void, Never>?
    private var timer: Timer?
    private var hasEnded = false

    init() throws(SystemError) {
        timer = try Timer { [weak self] in self?.end() }
    }

    /// Waits for ``end()``, until the time is over or the task is cancelled.
    func wait(atMost duration: Duration) async {
        timer?.arm(after: duration)
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if hasEnded { continuation.resume() } else { self.continuation = continuation }
            }
        } onCancel: {
            EventLoop.start { self.end() }
        }
        timer = nil
    }

    func end() {
        hasEnded = true
        continuation?.resume()
        continuation = nil
    }
}
