internal import CSystemd
internal import Glibc

/// The resource usage of this process, counted by the kernel. Nil means unknown.
public struct ProcessUsage: Equatable, Sendable {
    public var cpu: Duration?
    public var residentBytes: Int?
    /// In seconds since 1970, with the kernel's precision of a hundredth.
    public var startedAtSeconds: Double?
    public var openFiles: Int?
    public var openFilesLimit: Int?

    public init() {}

    public static func now() -> ProcessUsage {
        var usage = ProcessUsage()
        usage.cpu = cpu()
        if let text = KernelFile.text("/proc/self/statm") { usage.residentBytes = residentBytes(statm: text) }
        if let own = KernelFile.text("/proc/self/stat"), let system = KernelFile.text("/proc/stat") {
            usage.startedAtSeconds = startedAtSeconds(processStat: own, systemStat: system)
        }
        usage.openFiles = openFiles()
        usage.openFilesLimit = openFilesLimit()
        return usage
    }

    /// From the second field of proc(5), `/proc/[pid]/statm`: resident pages.
    static func residentBytes(statm: String) -> Int? {
        let fields = statm.split(separator: " ")
        guard fields.count > 1, let pages = Int(fields[1]) else { return nil }
        return pages * sysconf(Int32(_SC_PAGESIZE))
    }

    /// From the 22nd field of proc(5), `/proc/[pid]/stat`, clock ticks since boot, and the `btime` of `/proc/stat`.
    static func startedAtSeconds(processStat: String, systemStat: String) -> Double? {
        // The second field is the program's name in parentheses and can hold anything.
        guard let nameEnd = processStat.lastIndex(of: ")") else { return nil }
        let fields = processStat[nameEnd...].split(separator: " ")
        let boot = systemStat.split(separator: "\n").first { $0.hasPrefix("btime ") }?.dropFirst("btime ".count)
        guard fields.count > 20, let ticks = Int(fields[20]), let boot, let bootSeconds = Int(boot) else { return nil }
        return Double(bootSeconds) + Double(ticks) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    private static func cpu() -> Duration? {
        var usage = rusage()
        guard unsafe getrusage(Int32(RUSAGE_SELF.rawValue), &usage) == 0 else { return nil }
        return .seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
            + .microseconds(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
    }

    private static func openFiles() -> Int? {
        do throws(SystemError) {
            // Without the two descriptors of this listing: the directory's, and that of its stream.
            return try Directory("/proc/self/fd").names().count - 2
        } catch {
            return nil
        }
    }

    private static func openFilesLimit() -> Int? {
        var limit = rlimit()
        guard unsafe getrlimit(Int32(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        // Nil for RLIM_INFINITY.
        return Int(exactly: limit.rlim_cur)
    }
}
