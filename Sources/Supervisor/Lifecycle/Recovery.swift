internal import Services
internal import Systemd

/// What an agent has to catch up with when it starts, or when systemd has come back.
extension Supervisor {
    /// Finds out how runs ended while systemd was not heard.
    func catchUpWithEndings() {
        for name in services.names { catchUpWithEnding(of: name) }
    }

    /// Finds out from the journal how a run has ended of which systemd remembers nothing any more: it was forgotten or
    /// started again before it was asked. What nothing tells is not known.
    func catchUpWithEnding(of name: ServiceName) {
        guard let service = services[name], let run = service.runBeforeAbsence else { return }
        services[name]?.runBeforeAbsence = nil
        guard let startedAt = run.startedAt, !run.hasEnded else { return }
        let isKnown = service.state.main.startedAt == startedAt
        // The run is still going on, or systemd's picture of its end has been read. Whether a stop job has ended it is
        // in the journal alone.
        let isStopUnknown =
            isKnown && service.state.activeState.isDead && service.record.isEnabled
            && service.record.phase == .established
        guard !isKnown || isStopUnknown else { return }
        var end: ServiceRun.End?
        do throws(SystemError) {
            if let invocationID = run.invocationID {
                let current = isKnown ? nil : service.state.invocationID
                end = try RunHistory(of: service.unit, since: invocationID, before: current).end
            }
        } catch {
            notice(.warning, "cannot read in the journal how the last run ended: \(error)", name)
        }
        if isKnown {
            services[name]?.record.run.wasStopped = end?.wasStopped ?? false
        } else if let end {
            services[name]?.record.run.observe(end, before: service.state)
        } else if !service.record.run.hasEnded, service.state.main.startedAt == nil {
            services[name]?.record.run.loseEnd()
        }
        guard services[name]?.record.run != service.record.run else { return }
        services[name]?.countExit(since: service.record.run)
        save(name)
    }
}
