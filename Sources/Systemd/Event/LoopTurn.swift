/// Turns of work that has a lot to do and no hurry.
@EventLoopActor
public enum LoopTurn {
    private static var waiting: [CheckedContinuation<Void, Never>] = []
    /// A loop that has more urgent things to do all the time still gives a turn so often.
    package static let patience = Duration.milliseconds(5)
    private static let deferral = try? Deferral(patience: patience) { next() }

    /// Waits until what is ready now has been dispatched, and until those that asked earlier have had their turn:
    /// between two slices of work every request gets its answer.
    public static func wait() async {
        // Without memory for an event source there is no order to be kept.
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
