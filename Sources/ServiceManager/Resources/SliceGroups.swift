internal import Services
internal import Systemd

/// The kernel's counts in the cgroups of a slice's units. A value that is not counted per unit is absent, and never
/// that of a parent cgroup.
struct SliceGroups {
    /// The slice's directory in the v2 hierarchy, if it exists.
    let unified: KernelDirectory?
    /// The v2 controllers that are enabled for the units. No files of other controllers are read.
    let enabled: Set<String>
    /// The slice's directories in the v1 hierarchies, by controller.
    let cpuacct: KernelDirectory?
    let memory: KernelDirectory?
    let pids: KernelDirectory?
    let blkio: KernelDirectory?

    /// The resource usage of a unit's processes; `unit` is the path of its cgroup below the slice's.
    func usage(of unit: String) -> ResourceUsage {
        var usage = ResourceUsage()
        if let time = Self.value(of: "usage_usec", in: unified?.text(unit + "/cpu.stat")) {
            usage.cpu = .microseconds(time)
        } else if let time = Self.number(cpuacct?.text(unit + "/cpuacct.usage")) {
            usage.cpu = .nanoseconds(time)
        }
        usage.memoryBytes =
            Self.number(unified("memory", unit, "memory.current"))
            ?? Self.number(memory?.text(unit + "/memory.usage_in_bytes"))
        usage.tasks =
            Self.number(unified("pids", unit, "pids.current")) ?? Self.number(pids?.text(unit + "/pids.current"))
        usage.io = unified("io", unit, "io.stat").flatMap(Self.io) ?? throttledIO(unit)
        return usage
    }

    /// What a unit has used until now: its processor time, and the most memory, from Linux 5.19 on.
    func lastUsage(of unit: String) -> (cpu: Duration?, memoryPeak: Int?) {
        let time = Self.value(of: "usage_usec", in: unified?.text(unit + "/cpu.stat"))
        return (time.map { .microseconds($0) }, Self.number(unified("memory", unit, "memory.peak")))
    }

    /// Whether the processes of a unit are frozen, by the file cgroup.events of cgroups(7).
    func isFrozen(_ unit: String) -> Bool { Self.isFrozen(events: unified?.text(unit + "/cgroup.events")) }

    /// The same from the text of that file.
    static func isFrozen(events: String?) -> Bool { value(of: "frozen", in: events) ?? 0 > 0 }

    /// The processes of a unit, without those of cgroups below its own.
    func pids(of unit: String) -> Set<Int> {
        let text = unified?.text(unit + "/cgroup.procs") ?? pids?.text(unit + "/cgroup.procs") ?? ""
        return Set(text.split(separator: "\n").compactMap { Int($0) })
    }

    private func unified(_ controller: String, _ unit: String, _ file: String) -> String? {
        enabled.contains(controller) ? unified?.text(unit + "/" + file) : nil
    }

    /// The I/O counts of cgroup v1; older kernels do not have the recursive files.
    private func throttledIO(_ unit: String) -> ResourceUsage.IO? {
        for suffix in ["_recursive", ""] {
            guard let bytes = blkio?.text(unit + "/blkio.throttle.io_service_bytes" + suffix),
                let operations = blkio?.text(unit + "/blkio.throttle.io_serviced" + suffix)
            else { continue }
            return Self.io(bytes: bytes, operations: operations)
        }
        return nil
    }

    /// Parses a number, with the line feed that the kernel adds.
    static func number(_ text: (some StringProtocol)?) -> Int? {
        guard let text else { return nil }
        let digits = text.hasSuffix("\n") ? text.dropLast() : text[...]
        guard digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        return Int(digits)
    }

    /// The value of a key in lines of "key value".
    static func value(of key: String, in text: String?) -> Int? {
        for line in text?.split(separator: "\n") ?? [] {
            let fields = line.split(separator: " ")
            if fields.count == 2, fields[0] == key { return number(fields[1]) }
        }
        return nil
    }

    /// From `io.stat`: a line for each device, "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6".
    static func io(_ text: String) -> ResourceUsage.IO? {
        var io = ResourceUsage.IO()
        for line in text.split(separator: "\n") {
            for pair in line.split(separator: " ").dropFirst() {
                let parts = pair.split(separator: "=")
                guard parts.count == 2 else { return nil }
                let counter: WritableKeyPath<ResourceUsage.IO, Int>
                switch parts[0] {
                case "rbytes": counter = \.readBytes
                case "wbytes": counter = \.writtenBytes
                case "rios": counter = \.reads
                case "wios": counter = \.writes
                default: continue
                }
                guard let sum = sum(io[keyPath: counter], number(parts[1])) else { return nil }
                io[keyPath: counter] = sum
            }
        }
        return io
    }

    /// From `blkio.throttle.io_service_bytes` and `…io_serviced`: "8:0 Read 1", "8:0 Write 2", …, "Total 3".
    static func io(bytes: String, operations: String) -> ResourceUsage.IO? {
        guard let readBytes = sum("Read", bytes), let writtenBytes = sum("Write", bytes),
            let reads = sum("Read", operations), let writes = sum("Write", operations)
        else { return nil }
        var io = ResourceUsage.IO()
        (io.readBytes, io.writtenBytes, io.reads, io.writes) = (readBytes, writtenBytes, reads, writes)
        return io
    }

    private static func sum(_ kind: String, _ text: String) -> Int? {
        // A total of zero without devices means "not counted": newer kernels count only limited devices.
        var total: Int?
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            // The last line is the total, without a device.
            guard fields.count == 3 || (fields.count == 2 && fields[0] == "Total") else { return nil }
            guard fields.count == 3, fields[1] == kind else { continue }
            guard let sum = sum(total ?? 0, number(fields[2])) else { return nil }
            total = sum
        }
        return total
    }

    /// Nil without a summand, or on overflow.
    private static func sum(_ left: Int, _ right: Int?) -> Int? {
        guard let right else { return nil }
        let (sum, overflow) = left.addingReportingOverflow(right)
        return overflow ? nil : sum
    }
}
