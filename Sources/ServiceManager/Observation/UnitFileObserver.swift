internal import Services
internal import Systemd

/// Detects changes that a person makes to unit files: drop-ins, overriding unit files, edits. Watches the directories
/// with inotify(7).
@EventLoopActor
final class UnitFileObserver {
    /// The services whose unit files may have changed.
    enum Scope {
        case services(Set<ServiceName>)
        case everything
    }

    private let layout: StateLayout
    private let units: UnitDirectory
    private let changed: @EventLoopActor (Scope) -> Void
    private var watch: PathWatch?
    private var search = UnitPathSearch()
    /// Services whose unit files may have changed during an operation on them; they are checked when it ends.
    private var touched: Set<ServiceName> = []

    /// `changed` is called when unit files may have changed; ``findings(of:)`` reads the difference.
    init(_ layout: StateLayout, _ units: UnitDirectory, changed: @escaping @EventLoopActor (Scope) -> Void) {
        self.layout = layout
        self.units = units
        self.changed = changed
    }

    /// Reads and watches the directories. Throws when inotify_init1(2) fails.
    func start() throws(SystemError) {
        watch = try PathWatch { [weak self] changes in self?.look(at: changes) }
        readDirectories()
    }

    /// Reads all directories again, for those that are not watched. Called when systemd has reloaded its unit files.
    func systemdHasReloaded() {
        readDirectories()
        changed(.everything)
    }

    /// Drop-ins, overriding files and edits of a unit; nil for none. Reads the unit file and the link of the service.
    func findings(of record: ServiceRecord) -> UnitFileFindings? {
        let name = record.spec.name
        let unit = UnitName.unit(of: name)
        let override = search.unitFiles[unit].map { UnitFileFindings.Deviation.overridden(path: $0) }
        let isLinked = units.isLinked(name)
        let findings = UnitFileFindings(
            dropIns: search.dropIns(of: unit),
            deviation: override ?? units.deviation(of: record),
            isLinkedByHand: isLinked == record.isLinked ? nil : isLinked
        )
        let isNothing = findings.dropIns.isEmpty && findings.deviation == nil && findings.isLinkedByHand == nil
        return isNothing ? nil : findings
    }

    /// Whether the directories and the link for boot differ from the findings.
    func differs(_ findings: UnitFileFindings?, _ record: ServiceRecord) -> Bool {
        let name = record.spec.name
        let unit = UnitName.unit(of: name)
        var override: String?
        if case .overridden(let path) = findings?.deviation { override = path }
        let isLinked = units.isLinked(name)
        return search.unitFiles[unit] != override || search.dropIns(of: unit) != findings?.dropIns ?? []
            || findings?.isLinkedByHand != (isLinked == record.isLinked ? nil : isLinked)
    }

    /// Has a service checked when the operation on it has ended.
    func lookLater(_ name: ServiceName) { touched.insert(name) }

    /// Whether a service has to be checked. True once for each ``lookLater(_:)``.
    func isToBeLooked(at name: ServiceName) -> Bool { touched.remove(name) != nil }

    private func look(at changes: Set<PathWatch.Change>) {
        var names: Set<ServiceName> = []
        var isAll = false
        for change in changes {
            guard let name = change.name else {
                isAll = true
                continue
            }
            // Temporary names of files that are being written.
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

    /// Whether a directory entry can concern a unit of the agent. Other unit files come and go.
    private func isRelevant(_ name: String, in directory: String) -> Bool {
        let path = directory + "/" + name
        return name.hasPrefix("miosa-") || name == "service.d" || search.directories.contains(directory)
            || path == units.wantsDirectory || layout.watchedUnitPath.contains(path)
    }

    private func readDirectories() {
        let found = UnitPathSearch(layout)
        search = found
        guard let watch else { return }
        // A directory that does not exist yet appears as a new entry of its parent.
        let parents = Set(
            layout.watchedUnitPath.map { "/" + $0.split(separator: "/").dropLast().joined(separator: "/") }
        )
        for path in parents + layout.watchedUnitPath + found.directories + [units.wantsDirectory] {
            try? watch.watch(directory: path)
        }
        // Read again: a change before the watch was set is not reported. A new directory is watched as well.
        search = UnitPathSearch(layout)
        if search.directories != found.directories { readDirectories() }
    }
}
