internal import Services
internal import Systemd

/// What an agent has to catch up with when it starts, or when systemd has come back.
extension Supervisor {
    /// Finds out from the journal how runs ended of which systemd remembers nothing any more: what ended while the
    /// agent was away, and was forgotten or started again.
    func catchUpWithEndings() {
        for (name, service) in services {
            services[name]?.runBeforeAbsence = nil
            guard let run = service.runBeforeAbsence, let startedAt = run.startedAt, !run.hasEnded else { continue }
            // The run is still going on, or systemd's picture of its end has been read.
            if service.state.main.startedAt == startedAt { continue }
            do throws(SystemError) {
                let history = try RunHistory(of: service.unit, since: startedAt)
                guard let end = history.end else { continue }
                services[name]?.record.run.observe(end, before: service.state)
                services[name]?.countExit(since: service.record.run)
                save(name)
            } catch {
                notice(.warning, "cannot read in the journal how the last run ended: \(error)", name)
            }
        }
    }
}
