import CSystemd
import Glibc
import Systemd
import Testing

/// Runs tests as tasks of the event loop, the way that the daemon runs everything.
///
/// `@EventLoopActor` stands on the test functions, not on the suite: the testing library would list the tests of such a
/// suite on the loop, before this trait has made its thread.
struct EventLoopTrait: TestTrait, SuiteTrait, TestScoping {
    var isRecursive: Bool { true }

    @concurrent
    func provideScope(
        for test: Test,
        testCase: Test.Case?,
        performing function: @Sendable @concurrent () async throws -> Void
    ) async throws {
        LoopThread.start()
        try await withTaskExecutorPreference(EventLoop.shared) { try await function() }
    }
}

extension Trait where Self == EventLoopTrait {
    static var onEventLoop: Self { Self() }
}

/// The thread of the process that runs the event loop.
enum LoopThread {
    /// Makes the thread, unless another test target of this process has made it.
    static func start() { _ = isRunning }

    private static let isRunning: Bool = {
        guard isFirst() else { return false }
        var thread = pthread_t()
        let result = pthread_create(
            &thread,
            nil,
            { _ in
                do {
                    let code = try EventLoop.shared.run()
                    preconditionFailure("the event loop has ended with \(code)")
                } catch {
                    preconditionFailure("the event loop has failed: \(error)")
                }
            },
            nil
        )
        precondition(result == 0, "pthread_create: \(result)")
        return true
    }()

    /// Test targets share a process and no code: the kernel gives an abstract socket's name to one of them, and takes it
    /// back when the process ends.
    private static func isFirst() -> Bool {
        let descriptor = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        precondition(descriptor >= 0, "socket: errno \(errno)")
        let name = Array("\0miosa-agent-tests-\(getpid())".utf8)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        return result == 0
    }
}
