import Foundation
import TestSupport
import Testing

@testable import Systemd

@Suite struct FileChangesTests {
    /// One of each kind, in an order in which each finds what it needs.
    private static func everything(_ path: String) -> FileChanges {
        var changes = FileChanges()
        changes.write("a", in: path, [1, 2, 3], mode: 0o600)
        changes.write("a", in: path, [1, 2, 3], mode: 0o600, unlessEqual: true)
        changes.write("a", in: path, [1, 2, 3], mode: 0o640, unlessEqual: true)
        changes.link("l", in: path + "/links", to: "/dev/null")
        changes.link("l", in: path + "/links", to: "/dev/null")
        changes.move("a", in: path, to: path, as: "b")
        changes.move("a", in: path, to: path, as: "c")
        changes.move("b", in: path, to: path + "/links", as: "d")
        changes.reserve("r", in: path, byteCount: 4096)
        changes.release("r", in: path)
        changes.remove("none", in: path)
        changes.remove("none", in: path + "/none", mayLackDirectory: true)
        changes.remove("d", in: path + "/links")
        changes.synchronize(path)
        changes.synchronize()
        return changes
    }

    private static let outcome = [
        true, false, true, true, false, true, false, true, true, true, false, false, true, true, true,
    ]

    @Test func `each change tells whether it has changed anything`() throws {
        let directory = try TemporaryDirectory()
        let result = Self.everything(directory.path).perform()
        #expect(result.error == nil)
        #expect(result.isChanged == Self.outcome)
        #expect(result.isChanged(0..<2) && !result.isChanged(10..<12) && !result.isChanged(90..<99))
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["links"])
    }

    @Test func `changes and results are the same after they have been bytes`() throws {
        let changes = Self.everything("/some/where")
        let again = FileChanges(decoding: changes.encoded())
        #expect(again.changes.map(\.change) == changes.changes.map(\.change))
        #expect(again.changes.map(\.failing) == changes.changes.map(\.failing))
        var result = FileResult()
        result.isChanged = [true, false, true]
        #expect(FileResult(decoding: result.encoded()).isChanged == result.isChanged)
        #expect(FileResult(decoding: result.encoded()).error == nil)
        result.error = SystemError(call: "renameat", code: 28)
        #expect(FileResult(decoding: result.encoded()).error == result.error)
    }

    @Test func `the first failure ends them unless it is kept or ignored`() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path
        var changes = FileChanges()
        changes.remove("x", in: path + "/none", ignoresFailure: true)
        changes.write("made", in: path, [], mode: 0o600)
        changes.write("gone", in: path, [], mode: 0o600)
        var kept = changes
        changes.write("x", in: path + "/none", [], mode: 0o600)
        changes.write("never", in: path, [], mode: 0o600)
        var result = changes.perform()
        #expect(result.error?.isNotFound == true)
        #expect(result.isChanged == [false, true, true])
        // A kept failure ends them after the others that are kept.
        kept.remove("x", in: path + "/none", keepsFailure: true)
        kept.remove("gone", in: path, keepsFailure: true)
        kept.write("never", in: path, [], mode: 0o600)
        result = kept.perform()
        #expect(result.error?.isNotFound == true)
        #expect(result.isChanged == [false, true, true, false, true])
        #expect(try FileManager.default.contentsOfDirectory(atPath: path) == ["made"])
    }

    @Test func `a file that is no regular file is replaced`() throws {
        let directory = try TemporaryDirectory()
        try FileManager.default.createSymbolicLink(atPath: directory.path + "/a", withDestinationPath: "/etc/passwd")
        var changes = FileChanges()
        changes.write("a", in: directory.path, [7], mode: 0o600, unlessEqual: true)
        #expect(changes.perform().isChanged == [true])
        #expect(try Data(contentsOf: URL(filePath: directory.path + "/a")) == Data([7]))
    }
}

@Suite(.onEventLoop, .serialized, .hangLimit)
struct DiskTests {
    @Test @EventLoopActor func `changes are made in their order by a thread that ends afterwards`() async throws {
        let directory = try TemporaryDirectory()
        let disk = Disk()
        var works: [Disk.Work] = []
        for number in 0..<200 {
            var changes = FileChanges()
            changes.write("file", in: directory.path, Array(String(number).utf8), mode: 0o600)
            works.append(disk.begin(changes))
        }
        #expect(disk.isBusy && !disk.isHanging)
        for work in works { #expect(await work.wait().error == nil) }
        #expect(!disk.isBusy)
        #expect(try String(contentsOfFile: directory.path + "/file", encoding: .utf8) == "199")
        // Another one after the thread has ended.
        #expect(try await eventually { !disk.isRunning })
        var changes = FileChanges()
        changes.remove("file", in: directory.path)
        #expect(await disk.begin(changes).wait().isChanged == [true])
    }

    @Test @EventLoopActor func `a failure is told and no changes are no work`() async throws {
        let disk = Disk()
        #expect(disk.begin(FileChanges()).result?.isChanged == [])
        var changes = FileChanges()
        changes.synchronize("/none")
        #expect(await disk.begin(changes).wait().error == SystemError(call: "open", code: 2))
    }

    @Test @EventLoopActor func `what has to be done now comes after what was begun`() async throws {
        let directory = try TemporaryDirectory()
        let disk = Disk()
        var first = FileChanges()
        first.write("file", in: directory.path, [1], mode: 0o600)
        let work = disk.begin(first)
        var second = FileChanges()
        second.write("file", in: directory.path, [2], mode: 0o600)
        try disk.performNow(second)
        #expect(work.result != nil)
        #expect(try Data(contentsOf: URL(filePath: directory.path + "/file")) == Data([2]))
    }
}

@Suite(.onEventLoop, .serialized, .hangLimit)
struct PromiseTests {
    @Test @EventLoopActor func `all who wait get the first value`() async throws {
        let promise = Promise<Int>()
        let values = Arrivals<Int?>()
        for _ in 0..<2 { EventLoop.start { values.add(await promise.wait()) } }
        EventLoop.start { values.add(await promise.wait(atMost: .seconds(60))) }
        try await dispatchTimers()
        #expect(values.all.isEmpty && promise.value == nil)
        promise.fulfil(1)
        promise.fulfil(2)
        #expect(try await eventually { values.all == [1, 1, 1] })
        #expect(await promise.wait() == 1)
        #expect(await promise.wait(atMost: .zero) == 1)
    }

    @Test @EventLoopActor func `a wait ends with its time and with its task`() async throws {
        let promise = Promise<Void>()
        #expect(await promise.wait(atMost: .milliseconds(1)) == nil)
        let values = Arrivals<Bool>()
        let task = EventLoop.start { values.add(await promise.wait(atMost: .seconds(600)) == nil) }
        try await dispatchTimers()
        task.cancel()
        #expect(try await eventually { values.all == [true] })
        promise.fulfil()
    }
}
