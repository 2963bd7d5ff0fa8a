/// What the API asks of whoever makes services real. Calls for one service are carried out one after another.
public protocol ServiceControl: Sendable {
    /// Why systemd's word on the services is not known at the moment; nil while it is.
    var outage: String? { get async }

    /// All services, by name.
    func list() async throws(ControlError) -> [Service]

    /// One service, by name or id; names win.
    func service(_ reference: String) async throws(ControlError) -> Service

    /// Writes the unit, enables it for boot and dispatches its start.
    func create(_ spec: ServiceSpec) async throws(ControlError) -> Service

    /// Starts a service that is neither starting nor running, and waits until systemd's job has ended.
    func start(_ reference: String) async throws(ControlError) -> Service

    /// Stops a service that is starting or running, and waits until its last process is gone.
    func stop(_ reference: String) async throws(ControlError) -> Service

    /// Stops a service if need be and starts it, and waits until systemd's job has ended.
    func restart(_ reference: String) async throws(ControlError) -> Service

    /// Stops a service and removes all that it consists of; gives back its name.
    func delete(_ reference: String) async throws(ControlError) -> ServiceName
}
