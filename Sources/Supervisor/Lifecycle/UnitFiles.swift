internal import Services
internal import Systemd

/// Comparing the unit's files with the records: what a person has changed is shown and not undone.
extension Supervisor {
    func unitFilesChanged(_ scope: UnitFileObserver.Scope) {
        switch scope {
        case .services(let names):
            for name in names where services[name] != nil {
                // During an operation some of its files are not written yet.
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

    /// No operation is under way any more.
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

    /// Compares the unit's files with the record where they differed before they were written.
    func findDrift(of name: ServiceName) {
        if services[name]?.remarks.unitFiles != nil { lookAtUnitFiles(of: name) }
    }
}
