internal import Services
internal import Systemd

/// Carries out what concerns one key one after another, in the order in which it came, and what concerns different keys
/// side by side.
@EventLoopActor
final class Lanes<Key: Hashable & Sendable> {
    private var lanes: [Key: Lane] = [:]

    /// Whether something is being carried out.
    var isBusy: Bool { !lanes.isEmpty }

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
