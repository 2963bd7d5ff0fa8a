internal import Services
internal import Systemd

/// Telling the readers of events what has become of the services.
extension Supervisor {
    /// Tells what a client can see of a service and could not when it was told last.
    func announce(_ name: ServiceName) {
        // While systemd cannot be heard there is nothing to tell, and of a state that is held back nobody knows yet
        // whether it is one.
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

    /// Tells what has changed while systemd was not heard. What the first picture shows is no change.
    func announceAll() {
        for (name, service) in services.entries.sorted(by: { $0.name < $1.name }) {
            if hasBeenReady { announce(name) } else { services[name]?.announced = service.snapshot }
        }
        hasBeenReady = true
    }

    /// Tells that a service is gone.
    func announceRemoval(of service: ManagedService) {
        guard let last = service.announced else { return }
        events.append(.removed, last.status, service.snapshot)
    }
}
