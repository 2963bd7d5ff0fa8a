internal import Services
internal import Systemd

/// Reports when the processes of a unit are frozen or thawed, by watching cgroup.events. systemd before version 256
/// sends no signal when the property `FreezerState` changes.
@EventLoopActor
final class FreezerWatch {
    private var watch: ModificationWatch?
    private var names: [Int32: ServiceName] = [:]
    /// The slice's directory. It is not held open: systemd removes an empty slice and makes it again.
    private let directory: String?
    private let changed: @EventLoopActor (ServiceName, Bool) -> Void

    /// `changed` is called with a service whose file cgroup.events was modified, and whether it is frozen.
    init(changed: @escaping @EventLoopActor (ServiceName, Bool) -> Void) {
        self.changed = changed
        directory = ControlGroups.current().unified.map { $0 + "/" + ControlGroups.path(ofSlice: UnitFile.slice) }
    }

    /// Watches a unit with processes; a second call has no effect. The watch ends with the unit's cgroup.
    func follow(_ name: ServiceName) {
        guard let path = path(of: name) else { return }
        if watch == nil { watch = try? ModificationWatch { [weak self] in self?.look($0, gone: $1) } }
        // Fails if the unit has ended in the meantime.
        guard let number = try? watch?.watch(path) else { return }
        names[number] = name
        if isFrozen(name) { changed(name, true) }
    }

    private func path(of name: ServiceName) -> String? {
        directory.map { "\($0)/\(UnitName.cgroup(of: name))/cgroup.events" }
    }

    private func isFrozen(_ name: ServiceName) -> Bool {
        SliceGroups.isFrozen(events: path(of: name).flatMap { KernelFile.text($0) })
    }

    private func look(_ modified: Set<Int32>, gone: Set<Int32>) {
        for number in modified {
            guard let name = names[number] else { continue }
            changed(name, isFrozen(name))
        }
        for number in gone { names[number] = nil }
    }
}
