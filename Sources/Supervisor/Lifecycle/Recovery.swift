internal import Services
internal import Systemd

/// Recovery of missed run ends: at the start of the agent and after a reconnection to systemd.
extension Supervisor {
    /// Looks up the ends of runs that were missed while there was no connection.
    func catchUpWithEndings() {
        for name in services.names { catchUpWithEnding(of: name) }
    }

    /// Looks up in the journal how a run has ended whose end systemd does not report any more: the unit was unloaded or
    /// started again. Without an entry the end stays unknown.
    func catchUpWithEnding(of name: ServiceName) {
        guard let service = services[name], let run = service.runBeforeAbsence else { return }
        services[name]?.runBeforeAbsence = nil
        guard let startedAt = run.startedAt, !run.hasEnded else { return }
        let isKnown = service.state.main.startedAt == startedAt
        // The run is active, or systemd has reported its end. Only the journal tells whether a stop job ended it.
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
