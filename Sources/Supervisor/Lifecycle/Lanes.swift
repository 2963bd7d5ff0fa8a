internal import Services
internal import Systemd

/// Carries out what concerns one key one after another, in the order in which it came, and what concerns different keys
/// side by side.
@EventLoopActor
final class Lanes<Key: Hashable & Sendable> {
    private var lanes: [Key: Lane] = [:]

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
                if lane.leave() { self.lanes[key] = nil }
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
        defer {
            if lane.leave() { lanes[key] = nil }
        }
        return try await operation()
    }
}
