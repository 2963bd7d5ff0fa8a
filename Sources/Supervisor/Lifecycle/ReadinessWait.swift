public import Services
internal import Systemd

/// Waiting for a service to be ready.
extension Supervisor {
    /// How long a process without a port has to live.
    private static let settlingTime = Duration.seconds(1)
    /// There is no event for a port that somebody begins to listen on: it is tried so often while somebody waits.
    private static let portInterval = Duration.milliseconds(50)
    /// What of the log goes with a wait that took too long.
    private static let logLines = 20

    public func waitUntilReady(
        _ reference: String,
        within timeout: Duration
    ) async throws(ControlError) -> Service {
        let begin = MonotonicClock.now()
        let name = try find(reference).record.spec.name
        while true {
            let service = try find(reference).snapshot
            let left = timeout - MonotonicClock.now().duration(since: begin)
            switch service.status {
            case .failed, .stopped, .removed: return service
            case .running where await isReady(service): return try find(reference).snapshot
            case .running, .starting: break
            }
            guard left > .zero else { throw .waitTimeout(service, log: await lastLines(of: service)) }
            await nextChange(of: name, within: min(left, pause(before: service)))
        }
    }

    private func isReady(_ service: Service) async -> Bool {
        if let port = service.record.spec.port { return await LoopbackPort.accepts(UInt16(port)) }
        return age(of: service) >= Self.settlingTime
    }

    /// When to look again should nothing happen.
    private func pause(before service: Service) -> Duration {
        guard service.status == .running else { return .seconds(60) }
        if service.record.spec.port != nil { return Self.portInterval }
        return Self.settlingTime - age(of: service) + .milliseconds(1)
    }

    private func age(of service: Service) -> Duration {
        guard let startedAt = service.state.main.startedAt else { return .zero }
        return .microseconds(max(0, WallClock.now().microseconds - startedAt.microseconds))
    }

    /// What the service wrote last.
    private func lastLines(of service: Service) async -> [String] {
        do throws(ControlError) {
            return try await lastLines(of: service, Self.logLines)
        } catch {
            notice(.warning, "cannot read the log: \(error)", service.name)
            return []
        }
    }
}
