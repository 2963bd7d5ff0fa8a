internal import Services
internal import Systemd

/// What an agent has to catch up with when it starts, or when systemd has come back.
extension Supervisor {
    /// Finishes what an agent that was interrupted had begun.
    func finishInterrupted() async {
        for name in abandoned {
            do throws(ControlError) {
                try await lanes.inLane(name) { () throws(ControlError) in
                    if self.services[name] == nil { try await self.stopUnit(name) }
                    self.abandoned.remove(name)
                }
            } catch {
                notice(.warning, "cannot stop what was not created: \(error)", name)
            }
        }
        for (name, service) in services.sorted(by: { $0.key < $1.key }) where service.record.phase != .established {
            do throws(ControlError) {
                try await lanes.inLane(name) { () throws(ControlError) in try await self.finish(name) }
            } catch {
                notice(.warning, "cannot finish what was interrupted: \(error)", name)
            }
        }
    }

    private func finish(_ name: ServiceName) async throws(ControlError) {
        guard let service = services[name] else { return }
        switch service.record.phase {
        case .established: break
        case .starting:
            // A run that began after the start was asked for is the one that was asked for.
            if let startedAt = service.record.run.startedAt, startedAt >= service.record.updatedAt {
                establish(name)
            } else {
                intend(.start, name)
                if service.snapshot.status.isUp { try await stopUnit(name) }
                intend(.start, name)
                try await dispatchStart(name)
                notice(.information, "started: that had been interrupted", name)
            }
        case .stopping:
            intend(.stop, name)
            try await stopUnit(name)
            establish(name)
            notice(.information, "stopped: that had been interrupted", name)
        case .deleting:
            try await remove(name, by: Requester(uid: nil, requestID: "none"))
            notice(.information, "removed: that had been interrupted", name)
        }
    }

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
