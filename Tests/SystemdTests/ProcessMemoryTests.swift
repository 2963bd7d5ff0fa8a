import Foundation
import Systemd
import Testing

/// What the process lets go of. Other tests go on meanwhile and use memory of their own, so the sizes are large.
@Suite(.serialized) struct ProcessMemoryTests {
    /// A figure of /proc/self/status in KiB.
    private func figure(_ name: String) throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix(name + ":") })
        return try #require(Int(line.split(separator: " ").dropLast().last ?? ""))
    }

    @Test func `the program goes on without what it has let go of`() throws {
        let before = try figure("RssFile")
        ProcessMemory.releaseProgram()
        let after = try figure("RssFile")
        #expect(after < before)
        #expect((0..<1000).map { String($0) }.joined().utf8.count == 2890)
    }

    @Test func `large blocks are given back`() throws {
        ProcessMemory.returnBlocks(above: 128 * 1024)
        let size = 1024 * 1024
        // Left to itself glibc keeps blocks of that size from the first one on that is freed, for as long as something
        // smaller lies behind them.
        #expect([UInt8](repeating: 1, count: size).count == size)
        let before = try figure("RssAnon")
        var blocks = (0..<64).map { _ in [UInt8](repeating: 1, count: size) }
        let behind = (0..<4).map { _ in [UInt8](repeating: 1, count: 100 * 1024) }
        #expect(try figure("RssAnon") > before + 48 * 1024)
        blocks = []
        #expect(try figure("RssAnon") < before + 16 * 1024)
        #expect(blocks.isEmpty && behind.count == 4)
    }
}
