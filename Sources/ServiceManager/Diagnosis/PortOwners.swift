internal import Services
internal import Systemd

/// Owners of ports: the kernel reports the cgroup of each listening socket.
@EventLoopActor
struct PortOwners {
    let services: ServiceTable

    /// Whether a process of a service listens on its port.
    enum Listening {
        case no
        case yes
        /// A process of the service's account listens, and the kernel does not report of which service.
        case perhaps
    }

    /// Whether the kernel reports the cgroup of a listening socket, and systemd uses cgroup v2.
    nonisolated static let areKnown: Bool = {
        guard ListeningPorts.reportCgroups, let root = ControlGroups.current().unified else { return false }
        return KernelDirectoryTree.inode(of: root + "/system.slice") != nil
    }()

    /// Whether a process of the service listens on its port, on any local address.
    func listening(_ service: Service, on port: Int) async -> Listening {
        guard let listeners = try? ListeningPorts.listeners(on: UInt16(port)) else {
            return await LoopbackPort.accepts(UInt16(port)) ? .perhaps : .no
        }
        guard !listeners.isEmpty else { return .no }
        let group = UnitGroup(of: service.name)
        if listeners.contains(where: { $0.cgroupID != nil }), let group, group.exists {
            return listeners.contains { $0.cgroupID.map(group.contains) ?? false } ? .yes : .no
        }
        let uid = ProcessContext.userID(of: service.record.spec.user)
        guard listeners.contains(where: { $0.uid == uid }) else { return .no }
        return await LoopbackPort.accepts(UInt16(port)) ? .perhaps : .no
    }

    /// The owner of the service's port, if that is not the service: "the service 'web'", "nginx.service (nginx, pid
    /// 812)". Nil if there is none or it is not known.
    func holder(of service: Service) -> String? {
        guard let port = service.record.spec.port else { return nil }
        return holder(of: UInt16(port), besides: UnitGroup(of: service.name))
    }

    /// The owner of the socket that keeps others from listening on an address; nil as above.
    func holder(of address: SocketAddress) -> String? {
        address.port.flatMap { holder(of: $0, besides: nil, where: { $0.conflicts(with: address) }) }
    }

    private func holder(
        of port: UInt16,
        besides group: UnitGroup?,
        where isMeant: (ListeningPorts.Listener) -> Bool = { _ in true }
    ) -> String? {
        guard let listeners = try? ListeningPorts.listeners(on: port).filter(isMeant) else { return nil }
        let others = listeners.compactMap(\.cgroupID).filter { !(group?.contains($0) ?? false) }
        guard let other = others.first, let root = ControlGroups.current().unified else { return nil }
        guard let path = KernelDirectoryTree.path(ofInode: other, below: root) else {
            return group == nil ? "a process of no unit" : "a process that is not of this service"
        }
        let parts = path.split(separator: "/")
        guard let unit = parts.last(where: Self.isUnit) else { return "a process of no unit" }
        if let name = UnitName.service(ofUnit: String(unit)), services[name] != nil { return "the service '\(name)'" }
        if unit == "init.scope" { return "systemd, for a socket unit" }
        let pid = KernelFile.text(path + "/cgroup.procs")?.split(separator: "\n").first
        let program = pid.flatMap { KernelFile.text("/proc/\($0)/comm")?.split(separator: "\n").first }
        guard let pid, let program else { return String(unit) }
        return "\(unit) (\(program), pid \(pid))"
    }

    private static func isUnit(_ name: Substring) -> Bool { name.hasSuffix(".service") || name.hasSuffix(".scope") }
}

/// The cgroups of a unit's processes in the v2 hierarchy: its own, and those that the service creates below it.
private struct UnitGroup {
    private let path: String

    /// Nil if cgroup v2 is not mounted.
    init?(of name: ServiceName) {
        guard let root = ControlGroups.current().unified else { return nil }
        path = "\(root)/\(ControlGroups.path(ofSlice: UnitFile.slice))/\(UnitName.cgroup(of: name))"
    }

    var exists: Bool { KernelDirectoryTree.inode(of: path) != nil }

    /// Whether an inode number is that of the unit's directory, or of one below it.
    func contains(_ inode: UInt64) -> Bool { KernelDirectoryTree.path(ofInode: inode, below: path) != nil }
}
