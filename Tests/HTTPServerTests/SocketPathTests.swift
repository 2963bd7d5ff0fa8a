import Foundation
import HTTPServer
import Systemd
import TestSupport
import Testing

/// A Unix socket whose name is removed while it is listened on.
@Suite(.onEventLoop, .serialized, .hangLimit)
struct SocketPathTests {
    /// A directory, a path in it, and what is told of the socket there.
    @EventLoopActor
    private final class Scene {
        let directory: TemporaryDirectory
        let path: String
        let opened = Arrivals<ListeningSocket>()
        let failures = Arrivals<SystemError>()
        private var kept: SocketPath?

        init() throws {
            directory = try TemporaryDirectory()
            path = directory.path + "/api.sock"
        }

        func open() throws -> ListeningSocket { try ListeningSocket.open(.unix(path: path)) }

        func keep() throws {
            kept = try SocketPath(
                path,
                opened: { [opened] in opened.add($0) },
                failed: { [failures] in failures.add($0) }
            )
        }

        func remove() throws { try FileManager.default.removeItem(atPath: path) }
    }

    @Test @EventLoopActor func `a socket that is there stays`() async throws {
        let scene = try Scene()
        let socket = try scene.open()
        try scene.keep()
        // Another name is none of its business.
        #expect(FileManager.default.createFile(atPath: scene.path + ".other", contents: nil))
        try await turnLoop()
        #expect(scene.opened.all.isEmpty)
        #expect(scene.failures.all.isEmpty)
        #expect(ListeningSocket.isListenedOn(scene.path))
        withExtendedLifetime(socket) {}
    }

    @Test @EventLoopActor func `a socket whose name is removed is opened again, each time`() async throws {
        let scene = try Scene()
        let socket = try scene.open()
        try scene.keep()
        for _ in 0..<3 {
            try scene.remove()
            #expect(try await scene.opened.next().path == scene.path)
            #expect(ListeningSocket.isListenedOn(scene.path))
        }
        #expect(scene.failures.all.isEmpty)
        withExtendedLifetime(socket) {}
    }

    @Test @EventLoopActor func `a name that was removed before is opened at once`() async throws {
        let scene = try Scene()
        let socket = try scene.open()
        try scene.remove()
        try scene.keep()
        #expect(try await scene.opened.next().path == scene.path)
        withExtendedLifetime(socket) {}
    }

    @Test @EventLoopActor func `a socket that nobody listens on is replaced`() async throws {
        let scene = try Scene()
        _ = try scene.open()
        try scene.keep()
        #expect(try await scene.opened.next().path == scene.path)
    }

    @Test @EventLoopActor func `another listener at the path is let be`() async throws {
        let scene = try Scene()
        let socket = try scene.open()
        try scene.keep()
        let other = try ListeningSocket.open(.unix(path: scene.path + ".other"))
        // rename(2), so that the path leads to one of the two all the time.
        #expect(rename(scene.path + ".other", scene.path) == 0)
        try await turnLoop()
        #expect(scene.opened.all.isEmpty)
        #expect(ListeningSocket.isListenedOn(scene.path))
        withExtendedLifetime((socket, other)) {}
    }

    @Test @EventLoopActor func `what is in the way is told, and the socket is opened when it is gone`() async throws {
        let scene = try Scene()
        let socket = try scene.open()
        try scene.remove()
        try FileManager.default.createDirectory(atPath: scene.path, withIntermediateDirectories: false)
        try scene.keep()
        #expect(try await scene.failures.next() == SystemError(call: "bind", code: EADDRINUSE))
        try scene.remove()
        #expect(try await scene.opened.next().path == scene.path)
        withExtendedLifetime(socket) {}
    }

    @Test @EventLoopActor func `a directory that is gone is told`() async throws {
        let scene = try Scene()
        let socket = try scene.open()
        try scene.keep()
        try FileManager.default.removeItem(atPath: scene.directory.path)
        #expect(try await scene.failures.next().code == ENOENT)
        // A second later, at the latest.
        try FileManager.default.createDirectory(atPath: scene.directory.path, withIntermediateDirectories: false)
        #expect(try await scene.opened.next().path == scene.path)
        withExtendedLifetime(socket) {}
    }
}
