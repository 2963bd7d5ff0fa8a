/// Turns of the event loop for long work without urgency.
@EventLoopActor
public enum LoopTurn {
    private static var waiting: [CheckedContinuation<Void, Never>] = []
    /// The interval at which a busy loop grants a turn.
    package static let patience = Duration.milliseconds(5)
    private static let deferral = try? Deferral(patience: patience) { next() }

    /// Waits until all ready events have been dispatched and earlier callers have had their turn: between two slices of
    /// work requests are answered.
    public static func wait() async {
        // Without memory for an event source it returns at once.
        guard let deferral else { return }
        await withCheckedContinuation { continuation in
            waiting.append(continuation)
            deferral.request()
        }
    }

    private static func next() {
        waiting.removeFirst().resume()
        if !waiting.isEmpty { deferral?.request() }
    }
}
