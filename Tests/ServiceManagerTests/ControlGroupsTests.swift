import Foundation
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

/// Lines of mountinfo and of process 1's cgroups as machines have them.
struct ControlGroupsTests {
    private let temporary: TemporaryDirectory

    init() throws { temporary = try TemporaryDirectory() }

    private func groups(_ mounts: [String], _ processOne: String...) -> ControlGroups {
        ControlGroups(
            mountInfo: mounts.joined(separator: "\n") + "\n",
            processOne: processOne.joined(separator: "\n") + "\n"
        )
    }

    private func mount(_ root: String, _ point: String, _ type: String, _ options: String = "rw") -> String {
        "31 23 0:28 \(root) \(point) ro,nosuid,relatime shared:5 master:1 - \(type) cgroup \(options)"
    }

    /// Puts files where the unit's cgroup of a hierarchy is.
    private func write(_ directory: String, _ files: [String: String]) throws {
        let path = "\(temporary.path)/\(directory)/miosa.slice/a.service"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try "memory pids io\n".write(
            toFile: path + "/../cgroup.subtree_control",
            atomically: false,
            encoding: .utf8
        )
        for (name, text) in files { try text.write(toFile: path + "/" + name, atomically: false, encoding: .utf8) }
    }

    private func usage(_ mounts: [String], _ processOne: String...) -> ResourceUsage {
        ControlGroups(
            mountInfo: mounts.joined(separator: "\n"),
            processOne: processOne.joined(separator: "\n")
        ).slice("miosa.slice").usage(of: "a.service")
    }

    // MARK: Where they are

    @Test func `v2 alone has one hierarchy`() {
        let groups = groups(
            [
                "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw", "garbage",
                mount("/", "/sys/fs/cgroup", "cgroup2", "rw,nsdelegate"),
            ],
            "0::/init.scope"
        )
        #expect(groups.unified == "/sys/fs/cgroup")
        #expect(groups.controllers.isEmpty)
    }

    @Test func `v1 has a hierarchy for each controller`() {
        let groups = groups(
            [
                mount("/", "/sys/fs/cgroup/systemd", "cgroup", "rw,xattr,name=systemd"),
                mount("/", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
                mount("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory"),
            ],
            "9:memory:/",
            "3:cpu,cpuacct:/init.scope",
            "1:name=systemd:/init.scope"
        )
        #expect(groups.unified == nil)
        #expect(groups.controllers["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct")
        #expect(groups.controllers["memory"] == "/sys/fs/cgroup/memory")
    }

    @Test func `hybrid has both`() {
        let groups = groups(
            [
                mount("/", "/sys/fs/cgroup/unified", "cgroup2"),
                mount("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory"),
            ],
            "9:memory:/",
            "1:name=systemd:/init.scope",
            "0::/init.scope"
        )
        #expect(groups.unified == "/sys/fs/cgroup/unified")
        #expect(groups.controllers["memory"] == "/sys/fs/cgroup/memory")
    }

    @Test func `a container without a cgroup namespace sees the host's paths`() {
        // The whole hierarchy is mounted.
        let whole = groups([mount("/", "/sys/fs/cgroup", "cgroup2")], "0::/machine.slice/m1/payload/init.scope")
        #expect(whole.unified == "/sys/fs/cgroup/machine.slice/m1/payload")
        // Only the container's part is.
        let part = groups([mount("/machine.slice/m1", "/cg", "cgroup2")], "0::/machine.slice/m1/payload/init.scope")
        #expect(part.unified == "/cg/payload")
        let same = groups([mount("/machine.slice/m1", "/cg", "cgroup2")], "0::/machine.slice/m1/init.scope")
        #expect(same.unified == "/cg")
    }

    @Test func `a mount that does not hold systemd's cgroup is passed over`() {
        let groups = groups(
            [
                mount("/other", "/a", "cgroup2"), mount("/m", "/b", "cgroup2"), mount("/m1", "/c", "cgroup2"),
                mount("/m1", "/d", "cgroup2"),
            ],
            "0::/m1/init.scope"
        )
        #expect(groups.unified == "/c")
    }

    @Test(arguments: ["", "0:", "0::init.scope", "nonsense", "5:memory:/init.scope"])
    func `without a word on process 1 there is nothing`(processOne: String) {
        let groups = groups(
            [mount("/", "/u", "cgroup2"), mount("/", "/m", "cgroup", "rw,memory")],
            processOne
        )
        #expect(groups.unified == nil)
        #expect(groups.controllers.isEmpty)
    }

    @Test func `a slice is within the slices that its name names`() {
        #expect(ControlGroups.path(ofSlice: "a.slice") == "a.slice")
        #expect(ControlGroups.path(ofSlice: "a-b-c.slice") == "a.slice/a-b.slice/a-b-c.slice")
        #expect(ControlGroups.path(ofSlice: UnitFile.slice) == "miosa.slice/miosa-services.slice")
    }

    @Test func `this machine's are where process 1 is`() throws {
        let groups = ControlGroups.current()
        let texts = (KernelFile.text("/proc/self/mountinfo"), KernelFile.text("/proc/1/cgroup"))
        #expect(groups == ControlGroups(mountInfo: try #require(texts.0), processOne: try #require(texts.1)))
    }

    // MARK: What is in them

    @Test func `v2 files are read`() throws {
        try write(
            "u",
            [
                "cpu.stat": "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n",
                "memory.current": "4096\n",
                "pids.current": "3\n",
                "io.stat":
                    "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16 \n253:0 rbytes=10 wbytes=20 rios=30 "
                    + "wios=40 cost.usage=7\n",
            ]
        )
        let usage = usage([mount("/", temporary.path + "/u", "cgroup2")], "0::/init.scope")
        #expect(usage.cpu == .milliseconds(1500))
        #expect(usage.memoryBytes == 4096)
        #expect(usage.tasks == 3)
        #expect(usage.io?.readBytes == 11)
        #expect(usage.io?.writtenBytes == 22)
        #expect(usage.io?.reads == 33)
        #expect(usage.io?.writes == 44)
    }

    private var v1Mounts: [String] {
        ["cpuacct", "memory", "pids", "blkio"].map { mount("/", "\(temporary.path)/\($0)", "cgroup", "rw,\($0)") }
    }

    @Test func `v1 files are read`() throws {
        try write("cpuacct", ["cpuacct.usage": "1500000000\n"])
        try write("memory", ["memory.usage_in_bytes": "8192\n"])
        try write("pids", ["pids.current": "4\n"])
        try write(
            "blkio",
            [
                "blkio.throttle.io_service_bytes": "Total 0\n",
                "blkio.throttle.io_serviced": "Total 0\n",
                "blkio.throttle.io_service_bytes_recursive":
                    "8:0 Read 1\n8:0 Write 2\n8:0 Sync 3\n8:0 Total 3\n8:16 Read 10\n8:16 Write 20\nTotal 33\n",
                "blkio.throttle.io_serviced_recursive": "8:0 Read 5\n8:0 Write 6\n8:0 Total 11\nTotal 11\n",
            ]
        )
        let usage = usage(v1Mounts, "1:name=systemd:/init.scope")
        #expect(usage.cpu == .milliseconds(1500))
        #expect(usage.memoryBytes == 8192)
        #expect(usage.tasks == 4)
        #expect(usage.io?.readBytes == 11)
        #expect(usage.io?.writtenBytes == 22)
        #expect(usage.io?.reads == 5)
        #expect(usage.io?.writes == 6)
    }

    @Test func `an old kernel's I/O is read`() throws {
        try write(
            "blkio",
            [
                "blkio.throttle.io_service_bytes": "8:0 Read 7\n8:0 Write 0\nTotal 7\n",
                "blkio.throttle.io_serviced": "8:0 Read 1\n8:0 Write 0\nTotal 1\n",
            ]
        )
        let usage = usage(v1Mounts, "1:name=systemd:/init.scope")
        #expect(usage.io?.readBytes == 7)
        #expect(usage.io?.reads == 1)
        #expect(usage.cpu == nil)
    }

    @Test func `hybrid takes what there is from each`() throws {
        try write("u", ["cpu.stat": "usage_usec 1\n"])
        try write("memory", ["memory.usage_in_bytes": "8192\n"])
        let mounts = v1Mounts + [mount("/", temporary.path + "/u", "cgroup2")]
        let usage = usage(mounts, "1:name=systemd:/init.scope", "0::/init.scope")
        #expect(usage.cpu == .microseconds(1))
        #expect(usage.memoryBytes == 8192)
        #expect(usage.tasks == nil)
        #expect(usage.io == nil)
    }

    @Test func `a unit without a cgroup has nothing, and its parent's is not taken for it`() throws {
        let parent = temporary.path + "/u/miosa.slice"
        try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
        try "4096\n".write(toFile: parent + "/memory.current", atomically: false, encoding: .utf8)
        #expect(usage([mount("/", temporary.path + "/u", "cgroup2")], "0::/init.scope") == ResourceUsage())
        #expect(usage([]) == ResourceUsage())
    }

    @Test(arguments: ["", "\n", "x", "-1\n", "+1\n", "1 \n", "0x10\n", "max\n", "99999999999999999999\n", "1\n2\n"])
    func `what is no count is absent`(text: String) throws {
        try write("u", ["memory.current": text, "pids.current": text, "cpu.stat": "usage_usec \(text)"])
        let usage = usage([mount("/", temporary.path + "/u", "cgroup2")], "0::/init.scope")
        #expect(usage.memoryBytes == nil)
        #expect(usage.tasks == nil)
    }

    @Test(arguments: ["", "user_usec 1\n", "usage_usec\n", "usage_usec x\n", "usage_usec 1 2\n", "usage_usec -1\n"])
    func `a cpu.stat without a usage is absent`(text: String) {
        #expect(SliceGroups.value(of: "usage_usec", in: text) == nil)
    }

    @Test(arguments: [
        "8:0 rbytes=x", "8:0 rbytes", "8:0 rbytes=1=2", "8:0 wios=-1", "8:0 wios=1\n8:1 wios=9223372036854775807",
    ])
    func `an io.stat with something else in it is absent`(text: String) {
        #expect(SliceGroups.io(text) == nil)
    }

    @Test func `an io.stat without a device says that there was no transfer`() {
        #expect(SliceGroups.io("") == ResourceUsage.IO())
    }

    private static let counted = "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n"

    @Test func `v1 says of I/O without a device that nobody counted it`() {
        #expect(SliceGroups.io(bytes: Self.counted, operations: Self.counted)?.writes == 2)
        #expect(SliceGroups.io(bytes: "Total 0\n", operations: "Total 0\n") == nil)
        #expect(SliceGroups.io(bytes: Self.counted, operations: "Total 0\n") == nil)
        #expect(SliceGroups.io(bytes: "Total 0\n", operations: Self.counted) == nil)
    }

    @Test(arguments: [
        "8:0 Read x", "8:0 Read", "nonsense", "8:0 Read 1 2", "8:0 Write -1", "8:1 Read 9223372036854775807",
    ])
    func `a v1 file with something else in it is absent`(line: String) {
        #expect(SliceGroups.io(bytes: Self.counted + line, operations: Self.counted) == nil)
        #expect(SliceGroups.io(bytes: Self.counted, operations: Self.counted + line) == nil)
    }
}
