internal import Systemd

/// Coalesces reloads of systemd: one runs at a time, and all callers that arrive meanwhile share the next one.
///
/// A running reload may have read a file before the caller changed it, so no caller joins it.
@EventLoopActor
final class ReloadQueue {
    private typealias Turn = Promise<Result<Void, BusError>>

    private var running: Turn?
    private var next: Turn?

    /// Waits for a reload that begins after this call. `reload` is called if this caller has to start it. Throws its
    /// error.
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
