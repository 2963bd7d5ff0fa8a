/// Isolation to the event loop's thread: all state of the daemon that can change is on it.
@globalActor
public actor EventLoopActor {
    public static let shared = EventLoopActor()

    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe EventLoop.shared.asUnownedSerialExecutor()
    }

    /// Enters the isolation from a C callback, which runs on the loop's thread without the compiler knowing it.
    /// Traps when called on another thread.
    public static func assumeIsolated<Result, Failure: Error>(
        _ operation: @EventLoopActor () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // What preconditionIsolated() comes to, without the runtime's search for the executor.
        EventLoop.shared.checkIsolated()
        // The compiler writes the path of the file into the program here. With one of its own the program is the same
        // wherever it was built.
        #sourceLocation(file:"EventLoopActor",line:19)
        return try withoutActuallyEscaping(operation) { escaping throws(Failure) in
            try unsafe unsafeBitCast(escaping, to: (() throws(Failure) -> Result).self)()
        }
    }
    #sourceLocation()
}
