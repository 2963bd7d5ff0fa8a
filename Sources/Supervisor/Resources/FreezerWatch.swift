internal import Services
internal import Systemd

/// Hears from the kernel that the processes of a unit are frozen or thawed. systemd before version 256 sends no signal
/// when the property `FreezerState` changes.
@EventLoopActor
final class FreezerWatch {
    private var watch: PathWatch?
    private var names: [String: ServiceName] = [:]
    private let groups: String?
    private let changed: @EventLoopActor (ServiceName, Bool) -> Void

    /// `changed` is called with a service whose file cgroup.events was modified, and whether that says frozen.
    init(changed: @escaping @EventLoopActor (ServiceName, Bool) -> Void) {
        self.changed = changed
        groups = ControlGroups.current().unified.map { $0 + "/" + ControlGroups.path(ofSlice: UnitFile.slice) }
    }

    /// Watches a unit that has processes; a watch goes with the unit's cgroup.
    func follow(_ name: ServiceName) {
        guard let groups else { return }
        let path = "\(groups)/\(UnitName.unit(of: name))/cgroup.events"
        guard names[path] == nil else { return }
        if watch == nil { watch = try? PathWatch { [weak self] in self?.look(at: $0) } }
        // The unit may have ended meanwhile.
        guard (try? watch?.watch(file: path)) != nil else { return }
        names[path] = name
        look(path)
    }

    private func look(at changes: Set<PathWatch.Change>) {
        for change in changes { look(change.path) }
    }

    private func look(_ path: String) {
        guard let name = names[path] else { return }
        guard let text = KernelFile.text(path) else {
            names[path] = nil
            return
        }
        changed(name, SliceGroups.value(of: "frozen", in: text) ?? 0 > 0)
    }
}
