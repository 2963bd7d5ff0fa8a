internal import Systemd

/// The paths of the cgroups of systemd's units, found without asking systemd: on cgroup v2, v1, and the hybrid of both:
/// cgroups(7).
struct ControlGroups: Equatable {
    /// The path of systemd's own cgroup in the v2 hierarchy; nil if that is not mounted.
    private(set) var unified: String?
    /// The same in the v1 hierarchies, by controller.
    private(set) var controllers: [String: String] = [:]

    /// The present paths on this machine.
    static func current() -> ControlGroups {
        ControlGroups(
            mountInfo: KernelFile.text("/proc/self/mountinfo") ?? "",
            // Of process 1: this process is in a cgroup further below.
            processOne: KernelFile.text("/proc/1/cgroup") ?? ""
        )
    }

    /// From the texts of proc(5) `/proc/[pid]/mountinfo` and cgroups(7) `/proc/[pid]/cgroup`.
    init(mountInfo: String, processOne: String) {
        let roots = Self.roots(processOne)
        for line in mountInfo.split(separator: "\n") {
            guard let mount = Mount(line) else { continue }
            switch mount.type {
            case "cgroup2":
                guard unified == nil, let root = roots.unified else { continue }
                unified = mount.path(of: root)
            case "cgroup":
                // systemd uses the same path in every hierarchy of v1.
                guard let root = roots.named, let path = mount.path(of: root) else { continue }
                for option in mount.options where controllers[option] == nil { controllers[option] = path }
            default: continue
            }
        }
    }

    /// Opens the cgroups of a slice.
    func slice(_ name: String) -> SliceGroups {
        let path = Self.path(ofSlice: name)
        func open(_ root: String?) -> KernelDirectory? { root.flatMap { KernelDirectory($0 + "/" + path) } }
        let unified = open(unified)
        return SliceGroups(
            unified: unified,
            enabled: Set((unified?.text("cgroup.subtree_control") ?? "").split { $0.isWhitespace }.map { String($0) }),
            cpuacct: open(controllers["cpuacct"]),
            memory: open(controllers["memory"]),
            pids: open(controllers["pids"]),
            blkio: open(controllers["blkio"])
        )
    }

    /// The cgroup of a slice, below systemd's own. systemd.slice(5): "a-b.slice" is within "a.slice".
    static func path(ofSlice name: String) -> String {
        let parts = name.dropLast(".slice".count).split(separator: "-")
        return parts.indices.map { parts[...$0].joined(separator: "-") + ".slice" }.joined(separator: "/")
    }

    /// The used fields of a line of mountinfo.
    private struct Mount {
        let type: Substring
        /// The root of the mount within the hierarchy.
        let root: Substring
        let point: Substring
        /// The mount options, with the hierarchy's controllers.
        let options: [String]

        init?(_ line: Substring) {
            let fields = line.split(separator: " ")
            // The hyphen ends a list of optional fields of any length.
            guard let hyphen = fields.firstIndex(of: "-"), hyphen >= 6, fields.count > hyphen + 3 else { return nil }
            (root, point, type) = (fields[3], fields[4], fields[hyphen + 1])
            options = fields[hyphen + 3].split(separator: ",").map { String($0) }
        }

        /// The path of a cgroup in the file system; nil when it is not within the mounted part.
        func path(of group: Substring) -> String? {
            // "/" becomes the empty prefix.
            let (group, root) = (group == "/" ? "" : group, root == "/" ? "" : root)
            guard group == root || group.hasPrefix(root + "/") else { return nil }
            return "\(point)\(group.dropFirst(root.count))"
        }
    }

    /// systemd's own cgroup in the v2 hierarchy, and in its named v1 hierarchy.
    private static func roots(_ processOne: String) -> (unified: Substring?, named: Substring?) {
        var roots: (unified: Substring?, named: Substring?)
        for line in processOne.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3, fields[2].hasPrefix("/") else { continue }
            // systemd itself runs in the scope init.scope below the cgroup that holds the units.
            let scope = "/init.scope"
            var root = fields[2].hasSuffix(scope) ? fields[2].dropLast(scope.count) : fields[2]
            if root.isEmpty { root = "/" }
            switch fields[1] {
            case "": roots.unified = root
            case "name=systemd": roots.named = root
            default: continue
            }
        }
        return roots
    }
}
