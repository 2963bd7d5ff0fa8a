internal import Services
internal import Systemd

/// A serial queue for each key: operations of one key run one after another in the order of arrival, operations of
/// different keys run concurrently.
@EventLoopActor
final class KeyedSerialQueue<Key: Hashable & Sendable> {
    private var queues: [Key: SerialQueue] = [:]
    /// Called with a key whose queue has become empty.
    var quiet: (@EventLoopActor (Key) -> Void)?

    /// Whether an operation is running.
    var isBusy: Bool { !queues.isEmpty }

    /// Whether an operation of a key is running.
    func isBusy(_ key: Key) -> Bool { queues[key] != nil }

    /// Queues an operation before this call returns, so that it runs before every later one.
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
