/// Isolation to the event loop's thread, which owns all mutable state of the daemon.
@globalActor
public actor EventLoopActor {
    public static let shared = EventLoopActor()

    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe EventLoop.shared.asUnownedSerialExecutor()
    }

    /// Enters the isolation from a C callback, which runs on the loop's thread without the compiler's knowledge. Traps
    /// when called on another thread.
    public static func assumeIsolated<Result, Failure: Error>(
        _ operation: @EventLoopActor () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // The same check as preconditionIsolated(), without the runtime's lookup of the executor.
        EventLoop.shared.checkIsolated()
        // The compiler embeds the path of this source file in the program. A constant instead makes the build
        // reproducible in any directory.
        #sourceLocation(file:"EventLoopActor",line:19)
        return try withoutActuallyEscaping(operation) { escaping throws(Failure) in
            try unsafe unsafeBitCast(escaping, to: (() throws(Failure) -> Result).self)()
        }
    }
    #sourceLocation()
}
