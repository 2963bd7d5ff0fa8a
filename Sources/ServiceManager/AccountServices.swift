internal import Services
internal import Systemd

/// What an account may use at a time of what others need as well.
@EventLoopActor
final class AccountShare {
    /// The changes of its services.
    fileprivate let changes = SerialQueue(limit: Account.changesAtATime)
    fileprivate let streams = OpenStreams(limit: Account.streamsLimit)
    /// Reads of the records of deleted services, of which there can be a thousand.
    fileprivate let listing = SerialQueue()
}

@EventLoopActor
final class AccountShares {
    private var shares: [UInt32: AccountShare] = [:]

    func share(of account: Account) -> AccountShare {
        if let share = shares[account.uid] { return share }
        let share = AccountShare()
        shares[account.uid] = share
        return share
    }
}

/// The services of one account, as if there were no others.
///
/// The owner of a service is determined when the operation has its turn: until then an administrator can give the
/// service to another account, or delete it and create another one of its name.
@EventLoopActor
final class AccountServices {
    private let account: Account
    private let share: AccountShare
    private let manager: ServiceManager

    init(_ account: Account, _ share: AccountShare, _ manager: ServiceManager) {
        self.account = account
        self.share = share
        self.manager = manager
    }

    nonisolated func services(of account: Account) -> any ServiceControl {
        EventLoopActor.assumeIsolated { manager.services(of: account) }
    }

    // MARK: Reads

    var readiness: Readiness {
        get async {
            let readiness = await manager.readiness
            // The names of these files are of all services.
            return Readiness(
                outage: readiness.outage,
                unreadableRecords: [],
                journalState: readiness.journalState,
                isPortOwnerKnown: readiness.isPortOwnerKnown
            )
        }
    }

    func measurements() async -> Measurements {
        var measurements = manager.measurements()
        measurements.services.removeAll { !owns($0.name) }
        return measurements
    }

    nonisolated var areStatesKnown: Bool { manager.areStatesKnown }

    func awaitStates() async throws(ControlError) { try await manager.awaitStates() }

    nonisolated func list() -> [Service] {
        EventLoopActor.assumeIsolated { manager.list().filter(owns).map(shown) }
    }

    func listRemoved() async throws(ControlError) -> [RemovedService] {
        await share.listing.enter()
        defer { _ = share.listing.leave() }
        return try await manager.listRemoved().filter { account.owns($0.record.spec) }
    }

    nonisolated func service(_ reference: String) throws(ControlError) -> Service {
        try EventLoopActor.assumeIsolated { () throws(ControlError) in
            shown(try manager.find(reference, for: account).snapshot)
        }
    }

    func usage(of names: [ServiceName]) async -> [ServiceName: ResourceUsage] { manager.usage(of: names.filter(owns)) }

    func unitFile(_ reference: String) throws(ControlError) -> [UInt8] {
        try manager.unitFile(reference, for: account)
    }

    func runs(of reference: String) async throws(ControlError) -> [EndedRun] {
        try await manager.runs(of: reference, for: account).map(shown)
    }

    func run(_ number: Int, of reference: String) async throws(ControlError) -> RunDetails {
        var details = try await manager.run(number, of: reference, for: account)
        details.run = shown(details.run)
        return details
    }

    private func shown(_ run: EndedRun) -> EndedRun {
        var run = run
        if run.portHolder != nil { run.portHolder = "another process" }
        return run
    }

    private func owns(_ service: Service) -> Bool { account.owns(service.record.spec) }

    private func owns(_ name: ServiceName) -> Bool { manager.services.snapshot(name).map(owns) ?? false }

    /// Without what its message says of other services.
    private func shown(_ service: Service) -> Service { service.withoutPortHolder() }

    // MARK: Changes

    func unitText(of spec: ServiceSpec, id: String?) throws(ControlError) -> String {
        try manager.unitText(of: id == nil ? (try? own(spec)) ?? spec : spec, id: id)
    }

    func create(_ spec: ServiceSpec, starts: Bool) async throws(ControlError) -> Service {
        let spec = try own(spec)
        return try await change { () throws(ControlError) in
            // Another service that runs as the account may have the name: an administrator's.
            guard (try? self.manager.find(String(spec.name.local), for: self.account)) == nil else {
                throw .serviceExists
            }
            return try await self.manager.create(spec, starts: starts)
        }
    }

    func replace(
        _ spec: ServiceSpec,
        restarts: Bool
    ) async throws(ControlError) -> (service: Service, isNew: Bool) {
        let own = try own(spec)
        return try await change { () throws(ControlError) in
            let existing = try? self.manager.find(spec.name.description, for: self.account).record.spec.name
            if let existing, existing != own.name {
                let spec = own.named(existing)
                return (try await self.manager.replace(spec, restarts: restarts, for: self.account), false)
            }
            return try await self.manager.replace(own, restarts: restarts)
        }
    }

    func change(
        _ reference: String,
        restarts: Bool,
        _ change: @Sendable (ServiceSpec) -> ServiceSpec?
    ) async throws(ControlError) -> Service? {
        await share.changes.enter()
        defer { _ = share.changes.leave() }
        return try await manager.change(reference, restarts: restarts, for: account, change).map(shown)
    }

    func signal(_ reference: String, _ number: Int?) async throws(ControlError) -> Service {
        try await change { () throws(ControlError) in
            try await self.manager.signal(reference, number, for: self.account)
        }
    }

    func start(_ reference: String) async throws(ControlError) -> Service {
        try await change { () throws(ControlError) in try await self.manager.start(reference, for: self.account) }
    }

    func stop(_ reference: String) async throws(ControlError) -> Service {
        try await change { () throws(ControlError) in try await self.manager.stop(reference, for: self.account) }
    }

    func restart(_ reference: String) async throws(ControlError) -> Service {
        try await change { () throws(ControlError) in try await self.manager.restart(reference, for: self.account) }
    }

    func delete(
        _ reference: String,
        by requester: Requester,
        if condition: @Sendable (ServiceSpec) -> Bool
    ) async throws(ControlError) -> ServiceName {
        await share.changes.enter()
        defer { _ = share.changes.leave() }
        return try await manager.delete(reference, by: requester, for: account, if: condition)
    }

    /// The spec, which must be of this account, as that of an own service.
    private func own(_ spec: ServiceSpec) throws(ControlError) -> ServiceSpec {
        if spec.name.owner == account.uid { return spec }
        guard let name = ServiceName(spec.name.description, of: account.uid) else { throw .serviceNotFound }
        return spec.named(name)
    }

    private func change(_ operation: () async throws(ControlError) -> Service) async throws(ControlError) -> Service {
        await share.changes.enter()
        defer { _ = share.changes.leave() }
        return shown(try await operation())
    }

    private func change(
        _ operation: () async throws(ControlError) -> (service: Service, isNew: Bool)
    ) async throws(ControlError) -> (service: Service, isNew: Bool) {
        await share.changes.enter()
        defer { _ = share.changes.leave() }
        let (service, isNew) = try await operation()
        return (shown(service), isNew)
    }

    // MARK: Waits and streams

    func wait(
        for state: AwaitedState,
        of reference: String,
        within timeout: Duration
    ) async throws(ControlError) -> (service: Service, log: [String]) {
        do throws(ControlError) {
            let (service, log) = try await manager.wait(for: state, of: reference, within: timeout, for: account)
            return (shown(service), log)
        } catch .waitTimeout(let service, let log, _) {
            guard owns(service.name) else { throw .serviceNotFound }
            throw .waitTimeout(shown(service), log: log)
        }
    }

    func readLog(_ reference: String, _ query: LogQuery) async throws(ControlError) -> any LogReading {
        let id: String
        if let service = try? manager.find(reference, for: account) {
            id = service.record.id
        } else {
            // By id also of a deleted service.
            guard try await listRemoved().contains(where: { $0.record.id == reference }) else {
                throw .serviceNotFound
            }
            id = reference
        }
        let log = try await manager.logs.read(id, query, as: try share.streams.open(.log))
        return AccountLog(log, account, manager)
    }

    func readEvents(after position: EventPosition?) async throws(ControlError) -> any EventReading {
        try await manager.requireSystemd()
        return AccountEvents(manager.eventReader(after: position, try share.streams.open(.events)), account)
    }
}

extension AccountServices: ServiceControl {}

/// A log of an account's service. It ends when the service is given to another account.
private struct AccountLog: LogReading {
    private let log: any LogReading
    private let account: Account
    private let manager: ServiceManager

    init(_ log: any LogReading, _ account: Account, _ manager: ServiceManager) {
        self.log = log
        self.account = account
        self.manager = manager
    }

    var serviceID: String { log.serviceID }

    @EventLoopActor func next() async throws(ControlError) -> LogPiece {
        let piece = try await log.next()
        guard let service = try? manager.find(log.serviceID, for: nil) else { return piece }
        return account.owns(service.record.spec) ? piece : .removed
    }
}

/// The events of an account's services.
private struct AccountEvents: EventReading {
    private let events: any EventReading
    private let account: Account

    init(_ events: any EventReading, _ account: Account) {
        self.events = events
        self.account = account
    }

    var bootID: String { events.bootID }

    func next() async -> EventPiece {
        let begin = MonotonicClock.now()
        while true {
            switch await events.next() {
            case .snapshot(let services, let sequence, let at):
                return .snapshot(services.filter(owns).map { $0.withoutPortHolder() }, sequence: sequence, at: at)
            case .events(let all):
                let own = all.filter { owns($0.service) }.map { $0.withoutPortHolder() }
                if !own.isEmpty { return .events(own) }
                // Events of other accounts do not delay the keep-alive by more than one interval.
                if MonotonicClock.now().duration(since: begin) >= StreamLimits.quietTime { return .quiet }
            case let piece: return piece
            }
        }
    }

    private func owns(_ service: Service) -> Bool { account.owns(service.record.spec) }
}
