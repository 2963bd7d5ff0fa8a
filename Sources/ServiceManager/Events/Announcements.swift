internal import Services
internal import Systemd

/// Makes events of the changes of services that a client can see.
@EventLoopActor
final class Announcements {
    let log = EventLog()
    private let services: ServiceTable
    private let connectivity: Connectivity
    /// The state of each service that readers have been sent.
    private var announced: [ServiceName: Service] = [:]

    init(_ services: ServiceTable, _ connectivity: Connectivity) {
        self.services = services
        self.connectivity = connectivity
    }

    /// Adds an event for the changes that a client can see since the last event.
    func announce(_ name: ServiceName) {
        // Not without a connection to systemd, when nothing is known, and not for a held-back state, which may not be
        // final.
        guard connectivity.isReady, let service = services[name], service.heldBack == nil else { return }
        let current = service.snapshot
        guard let last = announced[name] else {
            log.append(.created, nil, current)
            announced[name] = current
            return
        }
        guard !current.looksLike(last) else { return }
        log.append(current.record.spec == last.record.spec ? .state : .updated, last.status, current)
        announced[name] = current
    }

    /// Adds events for changes during a lost connection. The first complete state after the start is no change.
    func announceAll() {
        for (name, service) in services.entries.sorted(by: { $0.name < $1.name }) {
            if connectivity.hasBeenReady { announce(name) } else { announced[name] = service.snapshot }
        }
    }

    /// Adds the event of a run's end, whose record is written: with the state that readers have of the service, which
    /// does not change by it.
    func announce(_ run: EndedRun, of name: ServiceName) {
        guard let service = announced[name] ?? services[name]?.snapshot else { return }
        log.append(.run, service.status, service, run)
    }

    /// Adds the event of a removal.
    func announceRemoval(of service: ManagedService) {
        guard let last = announced.removeValue(forKey: service.record.spec.name) else { return }
        log.append(.removed, last.status, service.snapshot)
    }

    /// The states that a reader must have before the next event, by name.
    var snapshot: [Service] {
        services.values.map { (announced[$0.record.spec.name] ?? $0.snapshot).withoutEnvironment() }
            .sorted { $0.name < $1.name }
    }
}
