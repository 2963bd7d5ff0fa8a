internal import Services
internal import Systemd

/// Carries out what concerns one key one after another, in the order in which it came, and what concerns different keys
/// side by side.
@EventLoopActor
final class Lanes<Key: Hashable & Sendable> {
    private var lanes: [Key: Lane] = [:]
    /// Called with a key of which nothing is being carried out any more.
    var quiet: (@EventLoopActor (Key) -> Void)?

    /// Whether something is being carried out.
    var isBusy: Bool { !lanes.isEmpty }

    /// Whether something that concerns a key is being carried out.
    func isBusy(_ key: Key) -> Bool { lanes[key] != nil }

    /// Carries out an operation whose place in the line is taken now: before that of every later call.
    func begin(_ key: Key, _ operation: @escaping @EventLoopActor () async -> Void) {
        let lane = lanes[key] ?? Lane()
        lanes[key] = lane
        lane.enter {
            EventLoop.start {
                await operation()
                self.leave(lane, key)
            }
        }
    }

    func inLane<Result: Sendable>(
        _ key: Key,
        _ operation: @EventLoopActor () async throws(ControlError) -> Result
    ) async throws(ControlError) -> Result {
        let lane = lanes[key] ?? Lane()
        lanes[key] = lane
        await lane.enter()
        defer { leave(lane, key) }
        return try await operation()
    }

    private func leave(_ lane: Lane, _ key: Key) {
        guard lane.leave() else { return }
        lanes[key] = nil
        quiet?(key)
    }
}
