import Glibc
import TestSupport
import Testing

@testable import Systemd

struct ProcessUsageTests {
    @Test func `the process knows what it uses`() throws {
        let usage = ProcessUsage.now()
        #expect(try #require(usage.cpu) > .zero)
        #expect(try #require(usage.residentBytes) > 1_000_000)
        let startedAt = try #require(usage.startedAtSeconds)
        let now = Double(WallClock.now().microseconds) / 1_000_000
        #expect(startedAt <= now + 1)
        #expect(startedAt > now - 24 * 3600)
        #expect(try #require(usage.openFilesLimit) > 0)
        #expect(ProcessUsage.now().startedAtSeconds == usage.startedAtSeconds)
    }

    @Test func `resident memory is in pages`() {
        #expect(ProcessUsage.residentBytes(statm: "100 7 3 1 0 9 0\n") == 7 * Int(sysconf(Int32(_SC_PAGESIZE))))
        #expect(ProcessUsage.residentBytes(statm: "100") == nil)
        #expect(ProcessUsage.residentBytes(statm: "100 x") == nil)
        #expect(ProcessUsage.residentBytes(statm: "") == nil)
    }

    @Test func `the start is counted from boot, whatever the program is called`() {
        let fields = "S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 250 9 9 9"
        for name in ["agent", "a b", "a) S (", ""] {
            let seconds = ProcessUsage.startedAtSeconds(
                processStat: "42 (\(name)) \(fields)\n",
                systemStat: "cpu 1 2\nbtime 1000\nprocesses 3\n"
            )
            #expect(seconds == 1000 + 250 / Double(sysconf(Int32(_SC_CLK_TCK))))
        }
        #expect(ProcessUsage.startedAtSeconds(processStat: "42 (a) \(fields)", systemStat: "cpu 1\n") == nil)
        #expect(ProcessUsage.startedAtSeconds(processStat: "42 (a) S 1", systemStat: "btime 1000\n") == nil)
        #expect(ProcessUsage.startedAtSeconds(processStat: "", systemStat: "btime 1000\n") == nil)
    }
}

struct KernelFileTests {
    private let temporary: TemporaryDirectory

    init() throws { temporary = try TemporaryDirectory() }

    private func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Directory(temporary.path).write(name, bytes, mode: 0o600)
        return temporary.path + "/" + name
    }

    @Test func `a file without a size is read to its end`() throws {
        let text = try #require(KernelFile.text("/proc/self/status"))
        #expect(text.contains("Pid:\t\(getpid())\n"))
        #expect(text.hasSuffix("\n"))
    }

    @Test func `what is longer than one read is whole`() throws {
        let text = String(repeating: "0123456789", count: 1000)
        #expect(KernelFile.text(try write("long", Array(text.utf8))) == text)
        #expect(KernelFile.text(try write("empty", [])) == "")
    }

    @Test func `what cannot be read is absent`() throws {
        #expect(KernelFile.text(temporary.path + "/none") == nil)
        #expect(KernelFile.text(temporary.path) == nil)
        #expect(KernelFile.text(try write("bytes", [0xff, 0xfe])) == nil)
        let limit = KernelFile.bytesLimit
        #expect(KernelFile.text(try write("limit", [UInt8](repeating: 0x30, count: limit))) != nil)
        #expect(KernelFile.text(try write("over", [UInt8](repeating: 0x30, count: limit + 1))) == nil)
    }
}
