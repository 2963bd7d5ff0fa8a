public import Services
internal import Systemd

/// Waiting for a state of a service.
extension ServiceManager {
    /// The age at which a process of a service without a port counts as ready.
    private static let readyAge = Duration.seconds(1)
    /// The polling interval of the port while a request waits: the kernel does not signal listen(2).
    private static let portInterval = Duration.milliseconds(50)
    /// The number of log lines in the answer to a wait that timed out, or for a service that has failed.
    private static let logLines = 20

    /// A command that forks into the background may open its port before its main process exits. A port that was opened
    /// in the first second of a process counts when the process lives this much longer.
    private static let backgroundTime = Duration.milliseconds(100)

    public func wait(
        for state: AwaitedState,
        of reference: String,
        within timeout: Duration
    ) async throws(ControlError) -> (service: Service, log: [String]) {
        try await wait(for: state, of: reference, within: timeout, for: nil)
    }

    func wait(
        for state: AwaitedState,
        of reference: String,
        within timeout: Duration,
        for account: Account?
    ) async throws(ControlError) -> (service: Service, log: [String]) {
        let begin = MonotonicClock.now()
        let name = try find(reference, for: account).record.spec.name
        while true {
            let service = try find(reference, for: account).snapshot
            let left = timeout - MonotonicClock.now().duration(since: begin)
            switch service.status {
            case .failed, .stopped, .removed:
                await diagnosis.wait(for: name)
                let ended = try find(reference, for: account).snapshot
                return (ended, ended.status == .failed ? await lastLines(of: ended) : [])
            // One whose process has ended does not run, even if others that are left, or commands after the end, do.
            case .running where state == .running && service.state.activeState != .deactivating: return (service, [])
            case .running where state == .ready:
                if let ready = try await ready(service, reference) {
                    _ = try find(reference, for: account)
                    return (ready, [])
                }
            case .running, .starting: break
            }
            guard left > .zero else {
                let holder = state == .ready ? ports.holder(of: service) : nil
                throw .waitTimeout(service, log: await lastLines(of: service), portHolder: holder)
            }
            await changes.next(of: name, within: min(left, state == .ready ? pause(before: service) : left))
        }
    }

    /// The current state of the service if it is ready, else nil.
    private func ready(_ service: Service, _ reference: String) async throws(ControlError) -> Service? {
        guard let port = service.record.spec.port else {
            return Self.hasMainProcess(service) && age(of: service) >= Self.readyAge ? service : nil
        }
        let listening = await ports.listening(service, on: port)
        guard listening != .no else { return nil }
        let begin = MonotonicClock.now()
        let wait = age(of: service) < Self.readyAge ? Self.backgroundTime : .zero
        while true {
            let current = try find(reference, for: nil).snapshot
            // The main process may have been replaced or have ended: processes that it left behind still answer while
            // systemd stops them.
            guard Self.hasMainProcess(current), current.state.mainPID == service.state.mainPID else { return nil }
            let left = wait - MonotonicClock.now().duration(since: begin)
            guard left > .zero else {
                observation.noteUncertainPort(of: service.name, listening == .perhaps)
                return try find(reference, for: nil).snapshot
            }
            await changes.next(of: service.name, within: left)
        }
    }

    private static func hasMainProcess(_ service: Service) -> Bool {
        service.status == .running && service.state.activeState != .deactivating && service.state.mainPID != nil
    }

    /// The time until the next check, if no change is reported before.
    private func pause(before service: Service) -> Duration {
        guard service.status == .running else { return .seconds(60) }
        if service.record.spec.port != nil { return Self.portInterval }
        return Self.readyAge - age(of: service) + .milliseconds(1)
    }

    private func age(of service: Service) -> Duration {
        guard let startedAt = service.state.main.startedAt else { return .zero }
        return .microseconds(max(0, WallClock.now().microseconds - startedAt.microseconds))
    }

    /// The last log lines of the service.
    private func lastLines(of service: Service) async -> [String] {
        do throws(ControlError) {
            return try await logs.lastLines(of: service, Self.logLines)
        } catch {
            messages.notice(.warning, "cannot read the log: \(error)", service.name)
            return []
        }
    }
}
