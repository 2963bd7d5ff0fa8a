import Foundation
import Systemd
import Testing

/// What the process lets go of, each time in a process of its own: whatever else ran in it would use memory meanwhile.
@Suite struct ProcessMemoryTests {
    /// A figure of /proc/self/status in KiB.
    private static func figure(_ name: String) throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix(name + ":") })
        return try #require(Int(line.split(separator: " ").dropLast().last ?? ""))
    }

    @Test func `the program goes on without what it has let go of`() async {
        await #expect(processExitsWith: .success) {
            let before = try ProcessMemoryTests.figure("RssFile")
            ProcessMemory.releaseProgram()
            let after = try ProcessMemoryTests.figure("RssFile")
            precondition(after < before, "\(before) KiB of files were resident, and then \(after) KiB")
            precondition((0..<1000).map { String($0) }.joined().utf8.count == 2890)
        }
    }

    @Test func `large blocks are given back`() async {
        await #expect(processExitsWith: .success) { try ProcessMemoryTests.useAndReturnBlocks() }
    }

    fileprivate static func useAndReturnBlocks() throws {
        ProcessMemory.returnBlocks(above: 128 * 1024)
        let size = 1024 * 1024
        // Left to itself glibc keeps blocks of that size from the first one on that is freed, for as long as something
        // smaller lies behind them.
        precondition([UInt8](repeating: 1, count: size).count == size)
        let before = try figure("RssAnon")
        var blocks = (0..<64).map { _ in [UInt8](repeating: 1, count: size) }
        let behind = (0..<4).map { _ in [UInt8](repeating: 1, count: 100 * 1024) }
        let most = try figure("RssAnon")
        precondition(most > before + 48 * 1024, "\(before) KiB, and then \(most) KiB")
        blocks = []
        let after = try figure("RssAnon")
        precondition(after < before + 16 * 1024, "\(before) KiB, then \(most) KiB, and then \(after) KiB")
        precondition(blocks.isEmpty && behind.count == 4)
    }
}
