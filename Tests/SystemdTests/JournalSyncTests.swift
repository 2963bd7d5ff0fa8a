import Glibc
import TestSupport
import Testing

@testable import Systemd

@Suite(.onEventLoop, .serialized, .hangLimit)
struct JournalSyncTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.path + "/io.systemd.journal" }

    private let sync: JournalSync

    @EventLoopActor init() throws {
        directory = try TemporaryDirectory()
        sync = JournalSync(socketPath: directory.path + "/io.systemd.journal")
    }

    /// A varlink service with one answer.
    @EventLoopActor
    private final class Service {
        enum Answer {
            case text(String)
            case hangUp
            case silence
        }

        let requests = Arrivals<String>()
        private let socket: ListeningSocket
        private let answer: Answer
        private var watch: IOWatch?
        private var connections: [Connection] = []

        private final class Connection {
            let descriptor: FileDescriptor

            init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
        }

        init(_ path: String, _ answer: Answer) throws {
            socket = try .open(.unix(path: path))
            self.answer = answer
            watch = try socket.watch { [weak self] _ in
                do {
                    try self?.serve()
                } catch {
                    Issue.record(error)
                }
            }
        }

        private func serve() throws {
            guard let descriptor = try socket.accept() else { return }
            var buffer = [UInt8](repeating: 0, count: 1024)
            // The request is in the socket before its connection is accepted.
            guard case .bytes(let count) = try descriptor.receive(into: &buffer) else { return }
            requests.add(String(decoding: buffer[..<count], as: UTF8.self))
            switch answer {
            case .text(let text): _ = try descriptor.send(Array(text.utf8), from: 0)
            case .hangUp: return
            case .silence: break
            }
            connections.append(Connection(descriptor))
        }

        /// How many clients have not closed their connection.
        func openCount() -> Int {
            var buffer = [UInt8](repeating: 0, count: 16)
            return connections.count { connection in
                // A client that has not read its answer leaves an error.
                guard case .wouldBlock? = try? connection.descriptor.receive(into: &buffer) else { return false }
                return true
            }
        }

        /// Answers every request.
        func answerAll() throws {
            for connection in connections {
                do throws(SystemError) {
                    _ = try connection.descriptor.send(Array("{\"parameters\":{}}\0".utf8), from: 0)
                } catch {
                    // The client is gone.
                    guard error.code == EPIPE || error.code == ECONNRESET else { throw error }
                }
            }
        }
    }

    @Test @EventLoopActor func `journald is asked to synchronize, and answers`() async throws {
        let service = try Service(path, .text("{\"parameters\":{}}\0"))
        #expect(await sync.synchronize(within: .seconds(60)))
        #expect(service.requests.all == ["{\"method\":\"io.systemd.Journal.Synchronize\"}\0"])
    }

    @Test @EventLoopActor func `an error is no success`() async throws {
        let service = try Service(path, .text("{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{}}\0"))
        #expect(await sync.synchronize(within: .seconds(60)) == false)
        #expect(service.requests.all.count == 1)
    }

    @Test @EventLoopActor func `a journald that hangs up has not answered`() async throws {
        let service = try Service(path, .hangUp)
        #expect(await sync.synchronize(within: .seconds(60)) == false)
        #expect(service.requests.all.count == 1)
    }

    @Test @EventLoopActor func `a journald that is silent is not waited for any longer than said`() async throws {
        let service = try Service(path, .silence)
        let begin = MonotonicClock.now()
        #expect(await sync.synchronize(within: .milliseconds(30)) == false)
        #expect(MonotonicClock.now().duration(since: begin) >= .milliseconds(30))
        #expect(service.requests.all.count == 1)
    }

    @Test @EventLoopActor func `a connection stays open until the late answer`() async throws {
        let service = try Service(path, .silence)
        #expect(await sync.synchronize(within: .milliseconds(1)) == false)
        while service.requests.all.isEmpty { try await turnLoop() }
        #expect(service.openCount() == 1)
        try service.answerAll()
        while service.openCount() > 0 { try await turnLoop() }
        let next = Arrivals<Bool>()
        EventLoop.start { next.add(await sync.synchronize(within: .seconds(60))) }
        while service.requests.all.count == 1 { try await turnLoop() }
        try service.answerAll()
        #expect(try await next.next())
    }

    @Test @EventLoopActor func `calls during a question share the next one`() async throws {
        let service = try Service(path, .silence)
        let first = Arrivals<Bool>()
        let others = Arrivals<Bool>()
        EventLoop.start { first.add(await sync.synchronize(within: .seconds(60))) }
        while service.requests.all.isEmpty { try await turnLoop() }
        for _ in 0..<100 { EventLoop.start { others.add(await sync.synchronize(within: .seconds(60))) } }
        try await turnLoop()
        #expect(service.requests.all.count == 1)
        try service.answerAll()
        #expect(try await first.next())
        while service.requests.all.count == 1 { try await turnLoop() }
        // The answer to the first question says nothing of what was sent after it.
        #expect(others.all.isEmpty)
        try service.answerAll()
        while others.all.count < 100 { try await turnLoop() }
        #expect(others.all.allSatisfy { $0 })
        #expect(service.requests.all.count == 2)
    }

    @Test @EventLoopActor func `without a journald there is no answer`() async throws {
        #expect(await sync.synchronize(within: .seconds(60)) == false)
        _ = try DatagramReceiver(path)
        #expect(await sync.synchronize(within: .seconds(60)) == false)
    }

    @Test @EventLoopActor func `the loop goes on while journald is waited for`() async throws {
        var service: Service? = try Service(path, .silence)
        let answers = Arrivals<Bool>()
        EventLoop.start { answers.add(await sync.synchronize(within: .seconds(600))) }
        _ = try await service?.requests.next()
        try await turnLoop()
        #expect(answers.all.isEmpty)
        service = nil
        #expect(try await answers.next() == false)
    }
}
