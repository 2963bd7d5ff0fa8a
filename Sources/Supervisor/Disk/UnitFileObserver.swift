internal import Services
internal import Systemd

/// Knows what a person has put beside or in place of the agent's unit files, and hears of changes from the kernel.
@EventLoopActor
final class UnitFileObserver {
    /// What may have changed.
    enum Scope {
        case services(Set<ServiceName>)
        case everything
    }

    private let layout: StateLayout
    private let units: UnitDirectory
    private let changed: @EventLoopActor (Scope) -> Void
    private var watch: PathWatch?
    private var search = UnitPathSearch()
    /// Services whose unit files may have changed during an operation on them.
    private var touched: Set<ServiceName> = []

    /// `changed` is called when something may have changed; ``findings(of:)`` tells what.
    init(_ layout: StateLayout, _ units: UnitDirectory, changed: @escaping @EventLoopActor (Scope) -> Void) {
        self.layout = layout
        self.units = units
        self.changed = changed
    }

    /// Looks at what there is and watches it. Throws what inotify_init1(2) fails with.
    func start() throws(SystemError) {
        watch = try PathWatch { [weak self] changes in self?.look(at: changes) }
        readDirectories()
    }

    /// Looks again at directories that are not watched: systemd has read its unit files anew.
    func systemdHasReloaded() {
        readDirectories()
        changed(.everything)
    }

    /// What is beside or in place of a unit's files; nil for nothing. Reads the unit file and the link of the service.
    func findings(of record: ServiceRecord) -> UnitFileFindings? {
        let name = record.spec.name
        let unit = UnitName.unit(of: name)
        let override = search.unitFiles[unit].map { UnitFileFindings.Deviation.overridden(path: $0) }
        let isLinked = units.isLinked(name)
        let findings = UnitFileFindings(
            dropIns: search.dropIns(of: unit),
            deviation: override ?? units.deviation(of: record),
            isLinkedByHand: isLinked == record.isEnabled ? nil : isLinked
        )
        let isNothing = findings.dropIns.isEmpty && findings.deviation == nil && findings.isLinkedByHand == nil
        return isNothing ? nil : findings
    }

    /// Whether the directories and the link for boot are not as they were found.
    func differs(_ findings: UnitFileFindings?, _ record: ServiceRecord) -> Bool {
        let name = record.spec.name
        let unit = UnitName.unit(of: name)
        var override: String?
        if case .overridden(let path) = findings?.deviation { override = path }
        let isLinked = units.isLinked(name)
        return search.unitFiles[unit] != override || search.dropIns(of: unit) != findings?.dropIns ?? []
            || findings?.isLinkedByHand != (isLinked == record.isEnabled ? nil : isLinked)
    }

    /// Has a service looked at when the operation on it has ended.
    func lookLater(_ name: ServiceName) { touched.insert(name) }

    /// Whether a service is to be looked at; once.
    func isToBeLooked(at name: ServiceName) -> Bool { touched.remove(name) != nil }

    private func look(at changes: Set<PathWatch.Change>) {
        var names: Set<ServiceName> = []
        var isAll = false
        for change in changes {
            guard let name = change.name else {
                isAll = true
                continue
            }
            // The names under which files are written before they get their own.
            if name.hasPrefix(".") { continue }
            let isOwn = change.path == layout.unitDirectory || change.path == units.wantsDirectory
            if isOwn, let service = UnitName.service(ofUnit: name) {
                names.insert(service)
            } else {
                isAll = isAll || isRelevant(name, in: change.path)
            }
        }
        if isAll {
            readDirectories()
            changed(.everything)
        } else if !names.isEmpty {
            changed(.services(names))
        }
    }

    /// Whether a name can be, or hold, something for a unit of the agent's. Others' unit files come and go.
    private func isRelevant(_ name: String, in directory: String) -> Bool {
        let path = directory + "/" + name
        return name.hasPrefix("miosa-") || name == "service.d" || search.directories.contains(directory)
            || path == units.wantsDirectory || layout.watchedUnitPath.contains(path)
    }

    private func readDirectories() {
        let found = UnitPathSearch(layout)
        search = found
        guard let watch else { return }
        // A directory that is not there yet is a name in its parent.
        let parents = Set(
            layout.watchedUnitPath.map { "/" + $0.split(separator: "/").dropLast().joined(separator: "/") }
        )
        for path in parents + layout.watchedUnitPath + found.directories + [units.wantsDirectory] {
            try? watch.watch(directory: path)
        }
        // Once more for what came in between; a directory that did is watched, too.
        search = UnitPathSearch(layout)
        if search.directories != found.directories { readDirectories() }
    }
}
