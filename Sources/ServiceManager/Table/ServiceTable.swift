internal import Services
internal import Systemd

/// The owner of the services, by name and by id, with a cache of the sorted list.
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

    /// A copy of a service; nil if there is none.
    subscript(name: ServiceName) -> ManagedService? { services[name] }

    /// Changes a service in place, the only way to do so; nil if there is none.
    @discardableResult
    func change<Result>(_ name: ServiceName, _ change: (inout ManagedService) -> Result) -> Result? {
        guard let index = services.index(forKey: name) else { return nil }
        listed = nil
        return change(&services.values[index])
    }

    /// The snapshot of a service, without copying the rest.
    func snapshot(_ name: ServiceName) -> Service? {
        guard let index = services.index(forKey: name) else { return nil }
        return services.values[index].snapshot
    }

    /// The name that a reference stands for: a name, which need not exist, or the id of a service. A name can have the
    /// form of an id: the id wins.
    func name(of reference: String) -> ServiceName? {
        if reference.utf8.count == Self.idLength, let name = namesByID[reference] { return name }
        return ServiceName(reference) ?? namesByID[reference]
    }

    /// The length of a UUID.
    private static let idLength = 36

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
