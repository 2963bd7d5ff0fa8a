import Foundation
import TestSupport
import Testing

@testable import Systemd

@Suite(.onEventLoop, .serialized, .hangLimit)
struct PathWatchTests {
    @Test @EventLoopActor func `names that come, change and go are told`() async throws {
        let directory = try TemporaryDirectory()
        let changes = Arrivals<PathWatch.Change>()
        let watch = try PathWatch { for change in $0 { changes.add(change) } }
        try watch.watch(directory: directory.path)
        try watch.watch(directory: directory.path)
        let path = directory.path
        try Data("x".utf8).write(to: URL(filePath: path + "/file"))
        #expect(try await eventually { changes.all.contains { $0.path == path && $0.name == "file" } })
        try FileManager.default.createSymbolicLink(atPath: path + "/link", withDestinationPath: "/dev/null")
        #expect(try await eventually { changes.all.contains { $0.name == "link" } })
        let before = changes.all.count
        try FileManager.default.removeItem(atPath: path + "/link")
        #expect(try await eventually { changes.all.dropFirst(before).contains { $0.name == "link" } })
    }

    @Test @EventLoopActor func `a directory that goes is told and can be watched again`() async throws {
        let directory = try TemporaryDirectory()
        let changes = Arrivals<PathWatch.Change>()
        let watch = try PathWatch { for change in $0 { changes.add(change) } }
        let path = directory.path + "/d"
        #expect(throws: SystemError.self) { try watch.watch(directory: path) }
        for round in 1...2 {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            try watch.watch(directory: path)
            try FileManager.default.removeItem(atPath: path)
            let gone = PathWatch.Change(path: path, name: nil)
            #expect(try await eventually { changes.all.filter { $0 == gone }.count >= round })
        }
    }
}

@Suite struct ListeningPortsTests {
    @Test func `a listener is told with its address and account, and no other port's is`() throws {
        let listener = try LoopbackListener(host: 2)
        try withExtendedLifetime(listener) {
            let listeners = try ListeningPorts.listeners(on: listener.port)
            #expect(listeners.map(\.address) == ["127.0.0.2"])
            #expect(listeners.map(\.uid) == [getuid()])
            #expect(try ListeningPorts.listeners(on: listener.port == 65535 ? 1 : listener.port + 1).isEmpty)
        }
    }

    @Test(arguments: [
        ("5.9.0", true), ("5.10.0-35-amd64", true), ("6.1.0-31-amd64", true), ("6.18.44-fc-v657", true),
        ("5.8.18", false), ("4.19.0", false), ("6", false), ("", false), ("6.rc1", true),
    ])
    func `cgroups of sockets are reported from Linux 5 point 9 on`(release: String, isReported: Bool) {
        #expect(ListeningPorts.reportsCgroups(release: release) == isReported)
    }

    @Test func `a directory is found by its inode number`() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/a/b"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let inode = try #require(KernelDirectoryTree.inode(of: path))
        #expect(KernelDirectoryTree.path(ofInode: inode, below: directory.path) == path)
        #expect(KernelDirectoryTree.path(ofInode: inode, below: path) == path)
        #expect(KernelDirectoryTree.path(ofInode: inode, below: directory.path + "/none") == nil)
    }
}
