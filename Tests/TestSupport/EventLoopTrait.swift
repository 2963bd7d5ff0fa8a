import Glibc
import Systemd
package import Testing

/// Runs tests as tasks of the event loop, the way that the daemon runs everything.
///
/// `@EventLoopActor` stands on the test functions, not on the suite: the testing library would list the tests of such a
/// suite on the loop, before this trait has made its thread.
package struct EventLoopTrait: TestTrait, SuiteTrait, TestScoping {
    package var isRecursive: Bool { true }

    @concurrent
    package func provideScope(
        for test: Test,
        testCase: Test.Case?,
        performing function: @Sendable @concurrent () async throws -> Void
    ) async throws {
        LoopThread.start()
        try await withTaskExecutorPreference(EventLoop.shared) { try await function() }
    }
}

extension Trait where Self == EventLoopTrait {
    package static var onEventLoop: Self { Self() }
}

/// The thread of the process that runs the event loop.
package enum LoopThread {
    /// Makes the thread, unless it is there.
    package static func start() { _ = isRunning }

    private static let isRunning: Bool = {
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
}
