public import Services
internal import Systemd

/// What the API asks for. Every operation writes what is wanted to disk before systemd hears of it, so that whatever
/// interrupts it, the next start of the agent knows what was wanted.
extension Supervisor {
    public func list() throws(ControlError) -> [Service] {
        try requireSystemd()
        return services.values.map(\.snapshot).sorted { $0.name < $1.name }
    }

    public func service(_ reference: String) throws(ControlError) -> Service {
        try requireSystemd()
        return try find(reference).snapshot
    }

    public func create(_ spec: ServiceSpec) async throws(ControlError) -> Service {
        try requireSystemd()
        return try await inLane(of: spec.name) { () throws(ControlError) in
            guard self.services[spec.name] == nil else { throw .serviceExists }
            guard self.services.count < self.configuration.servicesLimit else {
                throw .tooManyServices(limit: self.configuration.servicesLimit)
            }
            var service = ManagedService(try self.newRecord(spec))
            try self.write(service.record) { self.removeFiles(of: spec.name) }
            service.intent = .start
            self.services[spec.name] = service
            self.namesByID[service.record.id] = spec.name
            do throws(ControlError) {
                try await self.dispatchStart(spec.name)
            } catch {
                self.removeFiles(of: spec.name)
                self.forget(spec.name)
                throw error
            }
            return try self.find(spec.name.description).snapshot
        }
    }

    public func start(_ reference: String) async throws(ControlError) -> Service {
        try await inLane(of: reference) { (name) throws(ControlError) in
            guard ![.starting, .running].contains(try self.find(name.description).snapshot.status) else {
                throw .serviceRunning
            }
            return try await self.run(name)
        }
    }

    public func restart(_ reference: String) async throws(ControlError) -> Service {
        try await inLane(of: reference) { (name) throws(ControlError) in try await self.run(name) }
    }

    public func stop(_ reference: String) async throws(ControlError) -> Service {
        try await inLane(of: reference) { (name) throws(ControlError) in
            let before = try self.find(name.description)
            guard [.starting, .running].contains(before.snapshot.status) else { throw .serviceNotRunning }
            try self.enable(name, false)
            self.services[name]?.intent = .stop
            do throws(ControlError) {
                try await self.stopUnit(name)
            } catch {
                // Not stopped: whoever asked will ask again, and until then nothing has changed.
                self.services[name]?.intent = before.intent
                try? self.enable(name, before.record.isEnabled)
                throw error
            }
            return try self.find(name.description).snapshot
        }
    }

    public func delete(_ reference: String) async throws(ControlError) -> ServiceName {
        try await inLane(of: reference) { (name) throws(ControlError) in
            try await self.remove(name)
            return name
        }
    }

    /// Finishes what an agent that was interrupted had begun.
    func finishInterrupted() async {
        for (name, service) in services.sorted(by: { $0.key < $1.key }) where service.record.phase != .established {
            do throws(ControlError) {
                try await inLane(of: name) { () throws(ControlError) in
                    switch self.services[name]?.record.phase {
                    case .creating where service.state.main.startedAt == nil:
                        self.services[name]?.intent = .start
                        try await self.dispatchStart(name)
                        self.notice(.information, "started: its creation had been interrupted", name)
                    case .creating: self.establish(name)
                    case .deleting:
                        try await self.remove(name)
                        self.notice(.information, "removed: its deletion had been interrupted", name)
                    case .established, nil: break
                    }
                }
            } catch {
                notice(.warning, "cannot finish what was interrupted: \(error)", name)
            }
        }
    }

    // MARK: Steps

    /// Starts the unit, or restarts it where it is active, and waits for systemd's job.
    private func run(_ name: ServiceName) async throws(ControlError) -> Service {
        let before = try find(name.description)
        try enable(name, true)
        // Whoever starts by hand wants more than what is left of systemd's patience with crashes.
        let isActive = [.starting, .running].contains(before.snapshot.status)
        services[name]?.intent = isActive ? .none : .start
        let job: Job?
        do throws(ControlError) {
            job = try await queueStart(name, restarting: isActive)
        } catch {
            services[name]?.intent = before.intent
            try? enable(name, before.record.isEnabled)
            throw error
        }
        if let job { try await wait(for: job, name) }
        return try find(name.description).snapshot
    }

    /// Queues the start of a unit and leaves the rest to systemd.
    private func dispatchStart(_ name: ServiceName) async throws(ControlError) {
        let job = try await queueStart(name, restarting: false)
        establish(name)
        guard let job else { return }
        EventLoop.start { [weak self] in
            // A job that does not end shows in the unit's state.
            try? await self?.wait(for: job, name)
        }
    }

    /// Has systemd start or restart the unit from what is on disk. Nil when systemd refuses the unit, which is then the
    /// service's own failure.
    private func queueStart(_ name: ServiceName, restarting: Bool) async throws(ControlError) -> Job? {
        let unit = UnitName.unit(of: name)
        do throws(BusError) {
            try await systemd.resetFailedUnit(unit)
            try await systemd.forgetStaleCopy(of: unit)
            services[name]?.refusal = nil
            return restarting ? try await systemd.restartUnit(unit) : try await systemd.startUnit(unit)
        } catch .remote(_, let message) {
            services[name]?.refusal = message
            services[name]?.intent = .none
            return nil
        } catch {
            throw ControlError(error)
        }
    }

    private func wait(for job: Job, _ name: ServiceName) async throws(ControlError) {
        do throws(Job.Failure) {
            _ = try await job.result(within: Self.jobTimeout)
        } catch {
            switch error {
            case .disconnected: throw .systemdUnavailable("the connection to systemd was lost")
            case .timeout: throw .systemdTimeout("systemd did not end the job within \(Self.jobTimeout)")
            }
        }
        // The job's last state may be held back until systemd has had its say.
        try await settle()
        if services[name]?.intent == .start { services[name]?.intent = .none }
    }

    /// Stops the unit until its last process is gone and leaves no failure behind in systemd.
    private func stopUnit(_ name: ServiceName) async throws(ControlError) {
        let unit = UnitName.unit(of: name)
        do throws(BusError) {
            let job = try await systemd.stopUnit(unit)
            do throws(ControlError) {
                try await wait(for: job, name)
            } catch .systemdTimeout {
                throw .local(.timedOut)
            } catch {
                throw .local(.notConnected)
            }
            try await systemd.resetFailedUnit(unit)
            try await systemd.settle()
        } catch .remote(name: "org.freedesktop.systemd1.NoSuchUnit", message: _) {
            // What is not loaded does not run.
        } catch {
            throw ControlError(error)
        }
    }

    /// Stops a service and removes all of it. Its record goes last: as long as it is there, the removal is finished
    /// by the next start of the agent.
    private func remove(_ name: ServiceName) async throws(ControlError) {
        var record = try find(name.description).record
        record.phase = .deleting
        record.isEnabled = false
        try store { () throws(SystemError) in
            try self.records.save(record)
            try self.units.setEnabled(false, name)
        }
        services[name]?.record = record
        services[name]?.intent = .stop
        try await stopUnit(name)
        try store { () throws(SystemError) in try self.units.remove(name) }
        do throws(BusError) {
            // The boot target keeps a unit loaded that it started; systemd would start it from memory.
            try await systemd.forgetStaleCopy(of: UnitName.unit(of: name))
        } catch {
            throw ControlError(error)
        }
        try store { () throws(SystemError) in try self.records.remove(name) }
        forget(name)
    }

    /// Writes whether the service starts at boot, in the record first.
    private func enable(_ name: ServiceName, _ isEnabled: Bool) throws(ControlError) {
        var record = try find(name.description).record
        if record.isEnabled != isEnabled {
            record.isEnabled = isEnabled
            record.updatedAt = Timestamp(microseconds: WallClock.now().microseconds)
        }
        let previous = services[name]?.record
        try write(record) {
            guard let previous else { return }
            try? self.records.save(previous)
            _ = try? self.units.setEnabled(previous.isEnabled, name)
        }
        services[name]?.record = record
    }

    /// Writes the record and what is derived from it; undoes it when something of it cannot be written.
    private func write(_ record: ServiceRecord, undo: () -> Void) throws(ControlError) {
        do throws(ControlError) {
            try store { () throws(SystemError) in
                try self.records.save(record)
                try self.units.write(record)
            }
        } catch {
            undo()
            throw error
        }
    }

    private func removeFiles(of name: ServiceName) {
        do throws(SystemError) {
            try units.remove(name)
            try records.remove(name)
        } catch {
            notice(.error, "cannot remove the files of a service that was not created: \(error)", name)
        }
    }

    private func establish(_ name: ServiceName) {
        services[name]?.record.phase = .established
        save(name)
    }

    private func forget(_ name: ServiceName) {
        if let service = services.removeValue(forKey: name) { namesByID[service.record.id] = nil }
        discard(name)
    }

    private func newRecord(_ spec: ServiceSpec) throws(ControlError) -> ServiceRecord {
        do throws(SystemError) {
            let id = try Identifier.random().description
            return ServiceRecord(id: id, spec: spec, createdAt: Timestamp(microseconds: WallClock.now().microseconds))
        } catch {
            throw .storageFailed("no random id: \(error)")
        }
    }

    // MARK: Plumbing

    /// A job ends on its own after the stop time-out, twice for a start that has to stop first; systemd is in trouble
    /// when it takes longer.
    private static let jobTimeout = Duration.seconds(60)

    private func requireSystemd() throws(ControlError) {
        if let outage { throw .systemdUnavailable(outage) }
    }

    private func find(_ reference: String) throws(ControlError) -> ManagedService {
        let name = ServiceName(reference).flatMap { services[$0] == nil ? nil : $0 } ?? namesByID[reference]
        guard let name, let service = services[name] else { throw .serviceNotFound }
        return service
    }

    private func settle() async throws(ControlError) {
        do throws(BusError) {
            try await systemd.settle()
        } catch {
            throw ControlError(error)
        }
    }

    private func store(_ write: () throws(SystemError) -> Void) throws(ControlError) {
        do throws(SystemError) {
            try write()
        } catch {
            throw error.isStorageFull ? .storageFull(error.description) : .storageFailed(error.description)
        }
    }

    /// Carries out an operation on the service that `reference` names when its turn comes, if it still exists then.
    private func inLane<Result: Sendable>(
        of reference: String,
        _ operation: @EventLoopActor (ServiceName) async throws(ControlError) -> Result
    ) async throws(ControlError) -> Result {
        try requireSystemd()
        let service = try find(reference)
        let name = service.record.spec.name
        return try await inLane(of: name) { () throws(ControlError) in
            try self.requireSystemd()
            // The name may have become another service's while this call waited.
            guard try self.find(reference).record.id == service.record.id else { throw .serviceNotFound }
            return try await operation(name)
        }
    }

    private func inLane<Result: Sendable>(
        of name: ServiceName,
        _ operation: @EventLoopActor () async throws(ControlError) -> Result
    ) async throws(ControlError) -> Result {
        let lane = lanes[name] ?? Lane()
        lanes[name] = lane
        await lane.enter()
        defer {
            if lane.leave() { lanes[name] = nil }
        }
        return try await operation()
    }
}

extension Supervisor: ServiceControl {}

extension ControlError {
    init(_ error: BusError) {
        self = error.isTimeout ? .systemdTimeout(error.description) : .systemdUnavailable(error.description)
    }
}
