internal import Systemd

/// Shares reloads of systemd: one runs at a time, and all who ask meanwhile share the next.
///
/// A reload that has begun may have read a file before it changed, so nobody joins one that is under way.
@EventLoopActor
final class ReloadQueue {
    private typealias Turn = Promise<Result<Void, BusError>>

    private var running: Turn?
    private var next: Turn?

    /// Waits for a reload that begins after this call. `reload` does it where this caller is the one to begin it.
    func run(_ reload: @EventLoopActor () async throws(BusError) -> Void) async throws(BusError) {
        if let next { return try await next.wait().get() }
        let turn = Turn()
        if let running {
            next = turn
            _ = await running.wait()
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
        running = nil
        turn.fulfil(result)
        try result.get()
    }
}
