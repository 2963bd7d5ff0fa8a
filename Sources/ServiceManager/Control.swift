public import Services
internal import Systemd

/// The operations of the API. Every operation writes the desired state before it calls systemd; after an interruption
/// it is retried until that state is reached.
extension ServiceManager {
    public var readiness: Readiness {
        get async {
            // An agent that starts is ready in a moment, unless systemd is busy.
            if !connectivity.hasBeenReady, !isReady { await connectivity.wait(atMost: Self.reconnectPatience) }
            let isSilent = isReady ? !(await systemd.answers()) : false
            return Readiness(
                outage: outage ?? (isSilent ? "it does not answer" : nil),
                unreadableRecords: unreadableRecords,
                journalState: isReady ? systemd.journalState : nil,
                isPortOwnerKnown: PortOwners.areKnown
            )
        }
    }

    public nonisolated var areStatesKnown: Bool { EventLoopActor.assumeIsolated { isReady } }

    public func awaitStates() async throws(ControlError) {
        if isReady { return }
        await connectivity.wait(atMost: Self.reconnectPatience)
        // A starting agent answers from its records and the kernel.
        if connectivity.hasBeenReady, let outage { throw .systemdUnavailable(outage) }
    }

    public nonisolated func list() -> [Service] { EventLoopActor.assumeIsolated { services.snapshots } }

    public nonisolated func service(_ reference: String) throws(ControlError) -> Service {
        try EventLoopActor.assumeIsolated { () throws(ControlError) in try find(reference, for: nil).snapshot }
    }

    public nonisolated func services(of account: Account) -> any ServiceControl {
        EventLoopActor.assumeIsolated { AccountServices(account, shares.share(of: account), self) }
    }

    public func listRemoved() async throws(ControlError) -> [RemovedService] {
        do throws(SystemError) {
            return try await desired.removed.load()
        } catch {
            throw ControlError(error)
        }
    }

    public func unitFile(_ reference: String) throws(ControlError) -> [UInt8] { try unitFile(reference, for: nil) }

    func unitFile(_ reference: String, for account: Account?) throws(ControlError) -> [UInt8] {
        let service = try find(reference, for: account)
        do throws(SystemError) {
            return try desired.units.read(service.record)
        } catch {
            throw ControlError(error)
        }
    }

    public func unitText(of spec: ServiceSpec, id: String?) throws(ControlError) -> String {
        try UnitFile.requireSupport(for: spec, bySystemd: systemd.version)
        return desired.units.text(of: spec, id: id ?? Self.noID)
    }

    /// Stands for the id of a service that is not created.
    private static let noID = "00000000-0000-0000-0000-000000000000"

    public func create(_ spec: ServiceSpec, starts: Bool = true) async throws(ControlError) -> Service {
        try await requireSystemd()
        return try await operationQueue.run(spec.name) { () throws(ControlError) in
            try await self.beginTurn(of: spec.name)
            guard self.services[spec.name] == nil else { throw .serviceExists }
            return try await self.operations.create(spec, starts: starts)
        }
    }

    public func replace(
        _ spec: ServiceSpec,
        restarts: Bool = true
    ) async throws(ControlError) -> (service: Service, isNew: Bool) {
        try await requireSystemd()
        return try await operationQueue.run(spec.name) { () throws(ControlError) in
            try await self.beginTurn(of: spec.name)
            guard self.services[spec.name] != nil else { return (try await self.operations.create(spec), true) }
            return (try await self.replaceExisting(spec, restarts: restarts), false)
        }
    }

    /// Replaces the spec of a service that an account owns. Throws `serviceNotFound` when it does not exist any more.
    func replace(
        _ spec: ServiceSpec,
        restarts: Bool,
        for account: Account
    ) async throws(ControlError) -> Service {
        try await inTurn(of: spec.name.description, for: account) { (name) throws(ControlError) in
            try await self.beginTurn(of: name)
            return try await self.replaceExisting(spec, restarts: restarts)
        }
    }

    public func change(
        _ reference: String,
        restarts: Bool,
        _ change: @Sendable (ServiceSpec) -> ServiceSpec?
    ) async throws(ControlError) -> Service? {
        try await self.change(reference, restarts: restarts, for: nil, change)
    }

    func change(
        _ reference: String,
        restarts: Bool,
        for account: Account?,
        _ change: (ServiceSpec) -> ServiceSpec?
    ) async throws(ControlError) -> Service? {
        try await inTurn(of: reference, for: account) { (name) throws(ControlError) in
            try await self.beginTurn(of: name)
            guard let spec = change(try self.find(name).record.spec) else { return nil }
            return try await self.replaceExisting(spec, restarts: restarts)
        }
    }

    public func signal(_ reference: String, _ number: Int?) async throws(ControlError) -> Service {
        try await signal(reference, number, for: nil)
    }

    func signal(_ reference: String, _ number: Int?, for account: Account?) async throws(ControlError) -> Service {
        try await inTurn(of: reference, for: account) { (name) throws(ControlError) in
            let service = try self.find(name)
            guard let number = number ?? service.record.spec.reloadSignal else { throw .noReload }
            guard service.state.mainPID != nil else { throw .serviceNotRunning }
            try await self.convergence.signal(name, number)
            return try self.find(name).snapshot
        }
    }

    private func replaceExisting(_ spec: ServiceSpec, restarts: Bool) async throws(ControlError) -> Service {
        let before = try find(spec.name)
        guard before.record.spec != spec || before.snapshot.drift != nil else {
            try await convergence.converge(spec.name)
            return try find(spec.name).snapshot
        }
        return try await operations.replace(spec.name, with: spec, restarts: restarts)
    }

    public func start(_ reference: String) async throws(ControlError) -> Service {
        try await start(reference, for: nil)
    }

    func start(_ reference: String, for account: Account?) async throws(ControlError) -> Service {
        try await inTurn(of: reference, for: account) { (name) throws(ControlError) in
            try await self.beginTurn(of: name)
            guard try !self.find(name).snapshot.status.isUp else { throw .serviceRunning }
            return try await self.operations.start(name)
        }
    }

    public func restart(_ reference: String) async throws(ControlError) -> Service {
        try await restart(reference, for: nil)
    }

    func restart(_ reference: String, for account: Account?) async throws(ControlError) -> Service {
        try await inTurn(of: reference, for: account) { (name) throws(ControlError) in
            try await self.beginTurn(of: name)
            return try await self.operations.start(name)
        }
    }

    public func stop(_ reference: String) async throws(ControlError) -> Service { try await stop(reference, for: nil) }

    func stop(_ reference: String, for account: Account?) async throws(ControlError) -> Service {
        try await inTurn(of: reference, for: account) { (name) throws(ControlError) in
            try await self.beginTurn(of: name)
            guard try self.find(name).snapshot.status.isUp else { throw .serviceNotRunning }
            return try await self.operations.stop(name)
        }
    }

    public func delete(
        _ reference: String,
        by requester: Requester,
        if condition: @Sendable (ServiceSpec) -> Bool = { _ in true }
    ) async throws(ControlError) -> ServiceName {
        try await delete(reference, by: requester, for: nil, if: condition)
    }

    func delete(
        _ reference: String,
        by requester: Requester,
        for account: Account?,
        if condition: (ServiceSpec) -> Bool
    ) async throws(ControlError) -> ServiceName {
        try await inTurn(of: reference, for: account) { (name) throws(ControlError) in
            guard condition(try self.find(name).record.spec) else { throw .preconditionFailed }
            try await self.operations.delete(name, by: requester)
            return name
        }
    }

    /// Runs an operation on the service that `reference` names, after the earlier ones on the same service. Throws
    /// `serviceNotFound` when the service was deleted in the meantime, or is not the account's any more.
    private func inTurn<Result: Sendable>(
        of reference: String,
        for account: Account?,
        _ operation: @EventLoopActor (ServiceName) async throws(ControlError) -> Result
    ) async throws(ControlError) -> Result {
        try await requireSystemd()
        let service = try find(reference, for: account)
        let name = service.record.spec.name
        return try await operationQueue.run(name) { () throws(ControlError) in
            try await self.requireSystemd()
            // While this call waited, the service may have been deleted and another one created with its name.
            guard try self.find(reference, for: account).record.id == service.record.id else { throw .serviceNotFound }
            return try await operation(name)
        }
    }

    /// Handles what an earlier operation has left outstanding. systemd may still execute a call that timed out: the
    /// next operation begins with the state after it. An outstanding removal is completed first.
    private func beginTurn(of name: ServiceName) async throws(ControlError) {
        guard let phase = services[name]?.record.phase, phase != .established else { return }
        if phase == .deleting { return try await convergence.converge(name) }
        do throws(Obstacle) {
            try await convergence.roundTrip()
        } catch {
            throw .systemdUnavailable("it does not answer, and an earlier operation on the service is outstanding")
        }
    }

    /// How long a call waits for the connection to come back: systemd re-executes itself after an upgrade, which is
    /// short.
    private static let reconnectPatience = Duration.seconds(1)

    func requireSystemd() async throws(ControlError) {
        if isReady { return }
        await connectivity.wait(
            atMost: connectivity.hasBeenReady ? Self.reconnectPatience : configuration.startPatience
        )
        if let outage { throw .systemdUnavailable(outage) }
    }

    /// The service that an account names by id or by name; nil for an administrator. For an account, what it does not
    /// own does not exist, and its own services go before others of the same name.
    func find(_ reference: String, for account: Account?) throws(ControlError) -> ManagedService {
        var name = services.name(of: reference)
        if let account, let own = ServiceName(reference, of: account.uid), services[own] != nil { name = own }
        guard let name, let service = services[name], account?.owns(service.record.spec) ?? true else {
            throw .serviceNotFound
        }
        return service
    }

    private func find(_ name: ServiceName) throws(ControlError) -> ManagedService {
        guard let service = services[name] else { throw .serviceNotFound }
        return service
    }
}

// MARK: Streams

extension ServiceManager {
    public func readLog(_ reference: String, _ query: LogQuery) async throws(ControlError) -> any LogReading {
        try await logs.read(reference, query, as: try openStreams.open(.log))
    }

    public func readEvents(after position: EventPosition?) async throws(ControlError) -> any EventReading {
        try await requireSystemd()
        return eventReader(after: position, try openStreams.open(.events))
    }

    func eventReader(after position: EventPosition?, _ stream: OpenStream) -> EventReader {
        EventReader(announcements, bootID: configuration.bootID.description, stream, after: position)
    }

    /// The number of open streams.
    public var streamCounts: (logs: Int, events: Int) { (openStreams.count(of: .log), openStreams.count(of: .events)) }
}

extension ServiceManager: ServiceControl {}
