internal import Services
internal import Systemd

/// The services by name and by id, with a cache of the sorted list.
@EventLoopActor
final class ServiceTable {
    private var services: [ServiceName: ManagedService] = [:]
    private var namesByID: [String: ServiceName] = [:]
    /// The sorted names; nil after a service was added or removed.
    private var sortedNames: [ServiceName]?
    /// The last list of all services; nil after a change of one.
    private var listed: [Service]?

    var count: Int { services.count }

    var isEmpty: Bool { services.isEmpty }

    /// The names, in no order.
    var names: [ServiceName] { Array(services.keys) }

    /// The services, in no order.
    var values: [ManagedService] { Array(services.values) }

    /// The services by name, in no order: a copy, so that the table can be changed during an iteration.
    var entries: [(name: ServiceName, service: ManagedService)] { services.map { ($0.key, $0.value) } }

    /// A service; nil if there is none. A change through this subscript invalidates the cached list.
    subscript(name: ServiceName) -> ManagedService? {
        get { services[name] }
        _modify {
            listed = nil
            yield &services[name]
        }
    }

    /// The snapshot of a service, without copying the rest.
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
