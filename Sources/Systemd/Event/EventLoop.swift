internal import CSystemd
internal import Glibc
internal import Synchronization

/// The event loop of the process, on one thread: sd-event waits, and Swift's tasks run between its events.
///
/// It is the executor of ``EventLoopActor`` and, through ``start(_:)``, the preferred executor of every task, so that a
/// resumed continuation runs here before the next event is dispatched.
@safe public final class EventLoop: SerialExecutor, TaskExecutor, @unchecked Sendable {
    /// The process's loop. Its thread is the one that calls ``run()``.
    public static let shared = EventLoop()

    /// Order in which sources that are ready at the same time are dispatched; lower goes first.
    public enum Priority {
        /// Swift jobs: code after an `await` runs before other events are dispatched.
        static let jobs: Int64 = -100
        /// Signals of systemd, before requests that ask for the state.
        public static let bus: Int64 = -50
        /// Everything else.
        public static let normal: Int64 = 0
    }

    package let event: OpaquePointer
    private let jobs = Mutex<[UnownedJob]>([])
    private let thread = Atomic<UInt>(0)
    /// Wakes the loop from its own thread, without a system call. Only used there.
    private var localWakeUp: OpaquePointer?
    /// Whether jobs are being run: jobs that are added meanwhile need no wake-up. Only used on the loop's thread.
    private var isRunningJobs = false
    /// Wakes the loop from any other thread.
    private let remoteWakeUp: CInt

    private init() {
        var event: OpaquePointer?
        // Without an event loop there is no process to report an error; this happens before any input is read.
        let created = unsafe sd_event_new(&event)
        precondition(created >= 0, "sd_event_new: \(SystemError(call: "sd_event_new", code: -created))")
        unsafe self.event = event!
        remoteWakeUp = eventfd(0, CInt(EFD_CLOEXEC) | CInt(EFD_NONBLOCK))
        precondition(remoteWakeUp >= 0, "eventfd: \(errno)")
        let context = unsafe Unmanaged.passUnretained(self).toOpaque()
        var local: OpaquePointer?
        var remote: OpaquePointer?
        let added = unsafe [
            sd_event_add_defer(self.event, &local, { _, context in unsafe drain(context) }, context),
            sd_event_source_set_priority(local, Priority.jobs),
            sd_event_source_set_enabled(local, CInt(SD_EVENT_OFF)),
            sd_event_add_io(
                self.event,
                &remote,
                remoteWakeUp,
                UInt32(EPOLLIN.rawValue),
                { _, descriptor, _, context in
                    var count: UInt64 = 0
                    // EAGAIN: an earlier dispatch has consumed the wake-up.
                    _ = unsafe read(descriptor, &count, MemoryLayout.size(ofValue: count))
                    return unsafe drain(context)
                },
                context
            ),
            sd_event_source_set_priority(remote, Priority.jobs),
        ]
        precondition(added.allSatisfy { $0 >= 0 }, "the event loop could not be set up: \(added)")
        unsafe localWakeUp = local
    }

    /// Makes the calling thread the loop's: from now on its code may enter ``EventLoopActor``.
    public func adoptThread() {
        thread.store(currentThread, ordering: .relaxed)
    }

    /// Dispatches events and jobs on the calling thread until ``exit(code:)``; returns that code. Throws when sd-event
    /// fails.
    public func run() throws(SystemError) -> CInt {
        adoptThread()
        remoteWake()
        return try check("sd_event_loop", unsafe sd_event_loop(event))
    }

    /// Ends ``run()`` after the current source has been dispatched.
    public func exit(code: CInt) {
        // The only failure is a loop that has ended already.
        _ = unsafe sd_event_exit(event, code)
    }

    /// Enables libsystemd's watchdog notifications from this loop if `WATCHDOG_USEC` is set (sd_event_set_watchdog(3));
    /// a loop that hangs stops sending them. True when a watchdog is active. Throws when sd-event fails.
    @discardableResult
    public func enableWatchdog() throws(SystemError) -> Bool {
        try check("sd_event_set_watchdog", unsafe sd_event_set_watchdog(event, 1)) > 0
    }

    /// Starts a task that runs completely on the loop. It begins before the loop dispatches the next event.
    @discardableResult
    public static func start(_ operation: @escaping @EventLoopActor () async -> Void) -> Task<Void, Never> {
        Task(executorPreference: EventLoop.shared, operation: operation)
    }

    /// The same, and runs the task up to its first suspension before this returns, after tasks that were started
    /// before.
    @EventLoopActor
    public static func begin(_ operation: @escaping @EventLoopActor () async -> Void) {
        // Task.immediate does not count this thread as the task's preferred executor, and would enqueue it again.
        let isNested = shared.isRunningJobs
        shared.isRunningJobs = true
        start(operation)
        shared.isRunningJobs = isNested
        if !isNested { shared.runJobs() }
    }

    // MARK: Executor

    public func enqueue(_ job: UnownedJob) {
        jobs.withLock { $0.append(job) }
        if !isRunningHere {
            remoteWake()
        } else if !isRunningJobs {
            localWake()
        }
    }

    public func enqueue(_ job: consuming ExecutorJob) { enqueue(UnownedJob(job)) }

    public func asUnownedSerialExecutor() -> UnownedSerialExecutor { unsafe UnownedSerialExecutor(ordinary: self) }

    public func checkIsolated() {
        precondition(isRunningHere, "called outside the event loop's thread")
    }

    public func isIsolatingCurrentContext() -> Bool? { isRunningHere }

    private var isRunningHere: Bool { thread.load(ordering: .relaxed) == currentThread }

    private var currentThread: UInt { UInt(pthread_self()) }

    private func localWake() {
        // Only an unregistered source can fail here.
        _ = unsafe sd_event_source_set_enabled(localWakeUp, CInt(SD_EVENT_ONESHOT))
    }

    private func remoteWake() {
        var one: UInt64 = 1
        // EAGAIN: the counter is full of wake-ups, so the loop will wake up.
        _ = unsafe write(remoteWakeUp, &one, MemoryLayout.size(ofValue: one))
    }

    fileprivate func runJobs() {
        isRunningJobs = true
        let batch = jobs.withLock { queue in
            let batch = queue
            queue.removeAll(keepingCapacity: queue.capacity <= 64)
            return batch
        }
        let serial = unsafe asUnownedSerialExecutor()
        let task = unsafe asUnownedTaskExecutor()
        for job in batch { unsafe job.runSynchronously(isolatedTo: serial, taskExecutor: task) }
        isRunningJobs = false
        if jobs.withLock({ !$0.isEmpty }) { localWake() }
    }
}

private func drain(_ context: UnsafeMutableRawPointer?) -> CInt {
    unsafe Unmanaged<EventLoop>.fromOpaque(context!).takeUnretainedValue().runJobs()
    return 0
}
