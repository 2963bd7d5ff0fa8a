internal import Services
internal import Systemd

/// The services by name and by id, and the list of all of them as it was asked for last.
@EventLoopActor
final class ServiceTable {
    private var services: [ServiceName: ManagedService] = [:]
    private var namesByID: [String: ServiceName] = [:]
    /// The names of all services in order; nil after one has come or gone.
    private var sortedNames: [ServiceName]?
    /// All services as they were listed last; nil after one has changed.
    private var listed: [Service]?

    var count: Int { services.count }

    var isEmpty: Bool { services.isEmpty }

    /// The names, in no order.
    var names: [ServiceName] { Array(services.keys) }

    /// The services, in no order.
    var values: [ManagedService] { Array(services.values) }

    /// The services by name, in no order: a copy, so that they can be changed meanwhile.
    var entries: [(name: ServiceName, service: ManagedService)] { services.map { ($0.key, $0.value) } }

    /// A service; nil where there is none. Set through it, a change of a service is seen by the next list.
    subscript(name: ServiceName) -> ManagedService? {
        get { services[name] }
        _modify {
            listed = nil
            yield &services[name]
        }
    }

    /// What is shown of a service, without a copy of the rest.
    func snapshot(_ name: ServiceName) -> Service? {
        guard let index = services.index(forKey: name) else { return nil }
        return services.values[index].snapshot
    }

    /// The name of the service with an id.
    func name(ofID id: String) -> ServiceName? { namesByID[id] }

    func insert(_ service: ManagedService) {
        let name = service.record.spec.name
        services[name] = service
        namesByID[service.record.id] = name
        sortedNames = nil
        listed = nil
    }

    func remove(_ name: ServiceName) -> ManagedService? {
        guard let service = services.removeValue(forKey: name) else { return nil }
        namesByID[service.record.id] = nil
        sortedNames = nil
        listed = nil
        return service
    }

    /// All services, by name.
    var snapshots: [Service] {
        if let listed { return listed }
        let names = sortedNames ?? services.keys.sorted()
        sortedNames = names
        let all = names.compactMap { services[$0]?.snapshot }
        listed = all
        return all
    }
}
