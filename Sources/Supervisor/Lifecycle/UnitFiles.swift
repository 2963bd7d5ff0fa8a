internal import Services
internal import Systemd

/// Comparison of unit files with records: changes by a person are shown and not undone.
extension Supervisor {
    func unitFilesChanged(_ scope: UnitFileObserver.Scope) {
        switch scope {
        case .services(let names):
            for name in names where services[name] != nil {
                // During an operation the files are only partly written.
                if operations.isBusy(name) { unitFiles?.lookLater(name) } else { lookAtUnitFiles(of: name) }
            }
        case .everything:
            for (name, service) in services.entries {
                if operations.isBusy(name) {
                    unitFiles?.lookLater(name)
                } else if unitFiles?.differs(service.remarks.unitFiles, service.record) ?? false {
                    lookAtUnitFiles(of: name)
                }
            }
        }
    }

    /// Checks the files of a service that were touched during an operation, which has ended.
    func lookAtTouchedFiles(of name: ServiceName) {
        if unitFiles?.isToBeLooked(at: name) ?? false { lookAtUnitFiles(of: name) }
    }

    /// Compares the unit's files with the record.
    func lookAtUnitFiles(of name: ServiceName) {
        guard let service = services[name], service.record.phase != .deleting else { return }
        services[name]?.remarks.unitFiles = unitFiles?.findings(of: service.record)
        guard services[name]?.remarks != service.remarks else { return }
        announce(name)
        tell(name)
    }

    /// The same, only for a service whose files differed before.
    func findDrift(of name: ServiceName) {
        if services[name]?.remarks.unitFiles != nil { lookAtUnitFiles(of: name) }
    }
}
