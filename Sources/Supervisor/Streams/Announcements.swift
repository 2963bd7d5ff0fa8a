internal import Services
internal import Systemd

/// Events about changes of services.
extension Supervisor {
    /// Adds an event for the changes that a client can see since the last event.
    func announce(_ name: ServiceName) {
        // Not without a connection to systemd, when nothing is known, and not for a held-back state, which may not be
        // final.
        guard isReady, let service = services[name], service.heldBack == nil else { return }
        let current = service.snapshot
        guard let last = service.announced else {
            events.append(.created, nil, current)
            services[name]?.announced = current
            return
        }
        guard !current.looksLike(last) else { return }
        events.append(current.record.spec == last.record.spec ? .state : .updated, last.status, current)
        services[name]?.announced = current
    }

    /// Adds events for changes during a lost connection. The first complete state after the start is no change.
    func announceAll() {
        for (name, service) in services.entries.sorted(by: { $0.name < $1.name }) {
            if hasBeenReady { announce(name) } else { services[name]?.announced = service.snapshot }
        }
        hasBeenReady = true
    }

    /// Adds the event of a removal.
    func announceRemoval(of service: ManagedService) {
        guard let last = service.announced else { return }
        events.append(.removed, last.status, service.snapshot)
    }
}
