internal import Services
internal import Systemd

/// Carries out what concerns one key one after another, in the order in which it came, and what concerns different keys
/// side by side.
@EventLoopActor
final class KeyedSerialQueue<Key: Hashable & Sendable> {
    private var queues: [Key: SerialQueue] = [:]
    /// Called with a key of which nothing is being carried out any more.
    var quiet: (@EventLoopActor (Key) -> Void)?

    /// Whether something is being carried out.
    var isBusy: Bool { !queues.isEmpty }

    /// Whether something that concerns a key is being carried out.
    func isBusy(_ key: Key) -> Bool { queues[key] != nil }

    /// Carries out an operation whose place in the line is taken now: before that of every later call.
    func begin(_ key: Key, _ operation: @escaping @EventLoopActor () async -> Void) {
        let queue = queues[key] ?? SerialQueue()
        queues[key] = queue
        queue.enter {
            EventLoop.start {
                await operation()
                self.leave(queue, key)
            }
        }
    }

    func run<Result: Sendable>(
        _ key: Key,
        _ operation: @EventLoopActor () async throws(ControlError) -> Result
    ) async throws(ControlError) -> Result {
        let queue = queues[key] ?? SerialQueue()
        queues[key] = queue
        await queue.enter()
        defer { leave(queue, key) }
        return try await operation()
    }

    private func leave(_ queue: SerialQueue, _ key: Key) {
        guard queue.leave() else { return }
        queues[key] = nil
        quiet?(key)
    }
}
