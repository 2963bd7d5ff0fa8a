public import Services
internal import Systemd

/// Metrics of all services: the agent's counts and the kernel's.
extension ServiceManager {
    public func measurements() -> Measurements {
        let groups = ControlGroups.current().slice(UnitFile.slice)
        return Measurements(
            isReady: isReady,
            isJournalActive: systemd.journalState.map { $0 == .active },
            services: services.values.map { measurements(of: $0, groups) }.sorted { $0.name < $1.name },
            systemdCalls: systemd.callDurations,
            reloads: systemd.reloadsCount
        )
    }

    public func usage(of names: [ServiceName]) -> [ServiceName: ResourceUsage] {
        let groups = ControlGroups.current().slice(UnitFile.slice)
        var usage: [ServiceName: ResourceUsage] = [:]
        for name in names {
            guard let service = services[name] else { continue }
            usage[name] =
                service.state.activeState.isDead ? ResourceUsage() : groups.usage(of: UnitName.cgroup(of: name))
        }
        return usage
    }

    private func measurements(of service: ManagedService, _ groups: SliceGroups) -> ServiceMeasurements {
        // A dead unit has no cgroup. While systemd is not connected the kernel's counts are used anyway.
        let isDead = isReady && service.state.activeState.isDead
        return ServiceMeasurements(
            name: service.record.spec.name,
            status: isReady ? service.snapshot.status : nil,
            restarts: service.record.run.restarts,
            exits: service.exits,
            isOutputDiscarded: !isDead && service.state.launchMark?.step == .journal,
            usage: isDead ? ResourceUsage() : groups.usage(of: UnitName.cgroup(of: service.record.spec.name))
        )
    }
}
