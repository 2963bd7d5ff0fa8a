internal import Systemd

/// Where the cgroups of systemd's units are in the file system, found without asking systemd: on cgroup v2, on v1, and
/// on the hybrid of both. cgroups(7).
struct ControlGroups: Equatable {
    /// The cgroup of systemd itself in the v2 hierarchy, as a path; nil where that is not mounted.
    private(set) var unified: String?
    /// The same in the v1 hierarchies, by controller.
    private(set) var controllers: [String: String] = [:]

    /// As this machine has them now.
    static func current() -> ControlGroups {
        ControlGroups(
            mountInfo: KernelFile.text("/proc/self/mountinfo") ?? "",
            // Process 1 and not this one, which is somewhere further below.
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

    /// A line of mountinfo, as far as it matters here.
    private struct Mount {
        let type: Substring
        /// What of the hierarchy is mounted.
        let root: Substring
        let point: Substring
        /// The hierarchy's controllers, among other things.
        let options: [String]

        init?(_ line: Substring) {
            let fields = line.split(separator: " ")
            // Before the hyphen is a list of any length.
            guard let hyphen = fields.firstIndex(of: "-"), hyphen >= 6, fields.count > hyphen + 3 else { return nil }
            (root, point, type) = (fields[3], fields[4], fields[hyphen + 1])
            options = fields[hyphen + 3].split(separator: ",").map { String($0) }
        }

        /// Where a cgroup of the hierarchy is in the file system; nil when it is not within what is mounted.
        func path(of group: Substring) -> String? {
            // Without the slash that stands for the whole hierarchy both are prefixes.
            let (group, root) = (group == "/" ? "" : group, root == "/" ? "" : root)
            guard group == root || group.hasPrefix(root + "/") else { return nil }
            return "\(point)\(group.dropFirst(root.count))"
        }
    }

    /// systemd's own cgroup in the v2 hierarchy, and in the v1 hierarchy that it has for itself.
    private static func roots(_ processOne: String) -> (unified: Substring?, named: Substring?) {
        var roots: (unified: Substring?, named: Substring?)
        for line in processOne.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3, fields[2].hasPrefix("/") else { continue }
            // systemd leaves its own cgroup to the units and lives in a scope of its own.
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
