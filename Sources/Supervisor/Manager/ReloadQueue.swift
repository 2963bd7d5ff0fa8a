internal import Systemd

/// Shares reloads of systemd: one runs at a time, and all who ask meanwhile share the next.
///
/// A reload that has begun may have read a file before it changed, so nobody joins one that is under way.
@EventLoopActor
final class ReloadQueue {
    private final class Turn {
        var result: Result<Void, BusError>?
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private var running: Turn?
    private var next: Turn?

    /// Waits for a reload that begins after this call. `reload` does it where this caller is the one to begin it.
    func run(_ reload: @EventLoopActor () async throws(BusError) -> Void) async throws(BusError) {
        if let next {
            await withCheckedContinuation { next.waiting.append($0) }
            return try next.result!.get()
        }
        let turn = Turn()
        if let running {
            next = turn
            await withCheckedContinuation { running.waiting.append($0) }
            next = nil
        }
        running = turn
        let result: Result<Void, BusError>
        do throws(BusError) {
            try await reload()
            result = .success(())
        } catch {
            result = .failure(error)
        }
        turn.result = result
        running = nil
        for waiter in turn.waiting { waiter.resume() }
        try result.get()
    }
}
