internal import CSystemd
internal import Glibc

/// An owned event source of sd-event: when its last reference is released, it is disabled and its handler is not called
/// any more.
@EventLoopActor
@safe public class EventSource {
    /// Null until the subclass has registered it.
    var source: OpaquePointer?

    init() {}

    isolated deinit {
        unsafe sd_event_source_disable_unref(source)
    }

    /// Sets the order of this source among those that are ready at the same time.
    public func setPriority(_ priority: Int64) {
        // Fails for a source that is not registered, which the initialisers exclude.
        _ = unsafe sd_event_source_set_priority(source, priority)
    }

    /// The context of the C callbacks: the object itself, unretained, because its deinit unregisters it.
    var context: UnsafeMutableRawPointer { unsafe Unmanaged.passUnretained(self).toOpaque() }
}

/// Calls a handler while a descriptor is ready (sd_event_add_io(3), level-triggered).
public final class IOWatch: EventSource {
    /// What a descriptor is ready for; the names of epoll_ctl(2).
    public struct Events: OptionSet, Sendable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }

        public static let readable = Events(rawValue: UInt32(EPOLLIN.rawValue))
        public static let writable = Events(rawValue: UInt32(EPOLLOUT.rawValue))
        /// Both directions are closed. Always reported.
        public static let hungUp = Events(rawValue: UInt32(EPOLLHUP.rawValue))
        /// The descriptor has failed. Always reported.
        public static let failed = Events(rawValue: UInt32(EPOLLERR.rawValue))
    }

    private let handler: @EventLoopActor (Events) -> Void

    /// Watches a descriptor, which must stay open as long as the watch exists. Throws when it cannot be registered.
    public init(
        _ descriptor: borrowing FileDescriptor,
        _ events: Events,
        handler: @escaping @EventLoopActor (Events) -> Void
    ) throws(SystemError) {
        self.handler = handler
        self.events = events
        super.init()
        let result = unsafe sd_event_add_io(
            EventLoop.shared.event,
            &source,
            descriptor.raw,
            events.rawValue,
            { _, _, ready, context in
                EventLoopActor.assumeIsolated { unsafe IOWatch.handler(context)(Events(rawValue: ready)) }
                return 0
            },
            context
        )
        try check("sd_event_add_io", result)
    }

    /// The handler of a watch, without a reference to the watch: a handler that releases its watch and closes the
    /// descriptor removes it from epoll before the number is reused.
    private static func handler(_ context: UnsafeMutableRawPointer?) -> @EventLoopActor (Events) -> Void {
        unsafe Unmanaged<IOWatch>.fromOpaque(context!).takeUnretainedValue().handler
    }

    /// Waits once until a descriptor is ready, at most for `duration`.
    public static func wait(
        for descriptor: borrowing FileDescriptor,
        _ events: Events,
        atMost duration: Duration
    ) async {
        let wait = Wait()
        // Without memory for an event source it returns at once; the caller's next read or write shows the state.
        guard let watch = try? IOWatch(descriptor, events, handler: { _ in wait.end() }),
            let timer = try? Timer(handler: { wait.end() })
        else { return }
        timer.arm(after: duration)
        await withCheckedContinuation { wait.continuation = $0 }
        withExtendedLifetime((watch, timer)) {}
    }

    @EventLoopActor
    fileprivate final class Wait {
        var continuation: CheckedContinuation<Void, Never>?

        func end() {
            continuation?.resume()
            continuation = nil
        }
    }

    /// The events to wait for. Empty: only failure and hang-up.
    public var events: Events {
        didSet {
            guard events != oldValue else { return }
            // Only an unregistered source can fail here.
            _ = unsafe sd_event_source_set_io_events(source, events.rawValue)
        }
    }
}

/// Calls a handler once after a delay (sd_event_add_time(3), CLOCK_MONOTONIC); can be armed again.
///
/// The monotonic clock stops while a VM is paused, so that a pause does not expire timers.
///
/// A timer that is postponed before it elapses, as for connections with every request, stays set in the kernel and is
/// checked when it elapses: that costs at most one wake-up, and no system call per postponement.
public final class Timer: EventSource {
    private let handler: @EventLoopActor () -> Void
    /// The time of the call, in microseconds of CLOCK_MONOTONIC; nil if not armed.
    private var deadline: UInt64?
    /// The time that is set in sd-event; nil for none.
    private var elapse: UInt64?

    /// The allowed delay, so that several timers can share a wake-up. Zero would be sd-event's default, a quarter of a
    /// second.
    private static let accuracyMicroseconds: UInt64 = 1000

    /// Makes a timer that is not armed. Throws when it cannot be registered.
    public init(handler: @escaping @EventLoopActor () -> Void) throws(SystemError) {
        self.handler = handler
        super.init()
        let result = unsafe sd_event_add_time(
            EventLoop.shared.event,
            &source,
            CLOCK_MONOTONIC,
            0,
            Timer.accuracyMicroseconds,
            { _, _, context in
                EventLoopActor.assumeIsolated {
                    unsafe Unmanaged<Timer>.fromOpaque(context!).takeUnretainedValue().elapsed()
                }
                return 0
            },
            context
        )
        try check("sd_event_add_time", result)
        _ = unsafe sd_event_source_set_enabled(source, CInt(SD_EVENT_OFF))
    }

    /// Calls the handler once, not before `duration` is over; replaces an earlier arming.
    public func arm(after duration: Duration) {
        // Not sd_event_now(3), which is the beginning of the loop's iteration: the handler would be called up to the
        // length of that iteration too early, and a caller that measures the time would find it not over.
        let deadline = MonotonicClock.now().microseconds + duration.microseconds
        self.deadline = deadline
        if let elapse, elapse <= deadline { return }
        setElapse(deadline)
    }

    private func setElapse(_ moment: UInt64) {
        elapse = moment
        // Both fail only for an unregistered source.
        _ = unsafe sd_event_source_set_time(source, moment)
        _ = unsafe sd_event_source_set_enabled(source, CInt(SD_EVENT_ONESHOT))
    }

    private func elapsed() {
        let moment = elapse ?? 0
        elapse = nil
        guard let deadline else { return }
        guard deadline <= moment else { return setElapse(deadline) }
        self.deadline = nil
        handler()
    }

    /// Waits for a duration.
    public static func wait(_ duration: Duration) async {
        let wait = IOWatch.Wait()
        // Without memory for an event source it returns at once.
        guard duration > .zero, let timer = try? Timer(handler: { wait.end() }) else { return }
        timer.arm(after: duration)
        await withCheckedContinuation { wait.continuation = $0 }
        withExtendedLifetime(timer) {}
    }

    /// Disarms the timer.
    public func cancel() { deadline = nil }
}

/// Calls a handler when the process gets a signal. The signal is blocked for normal delivery: sd_event_add_signal(3).
public final class SignalWatch: EventSource {
    private let handler: @EventLoopActor (SignalSender) -> Void

    /// Watches a signal. Must be called before other threads exist, because the signal mask is per thread.
    public init(
        _ signal: Signal,
        handler: @escaping @EventLoopActor (SignalSender) -> Void
    ) throws(SystemError) {
        self.handler = handler
        super.init()
        try signal.block()
        let result = unsafe sd_event_add_signal(
            EventLoop.shared.event,
            &source,
            signal.rawValue,
            { _, info, context in
                EventLoopActor.assumeIsolated {
                    let watch = unsafe Unmanaged<SignalWatch>.fromOpaque(context!).takeUnretainedValue()
                    unsafe watch.handler(SignalSender(info!.pointee))
                }
                return 0
            },
            context
        )
        try check("sd_event_add_signal", result)
    }
}

/// Calls a handler once, after all events that are ready now have been dispatched: for work that many changes share.
public final class Deferral: EventSource {
    private let handler: @EventLoopActor () -> Void
    /// Calls the handler when the loop stays busy.
    private var deadline: Timer?

    private let patience: Duration
    private var isRequested = false

    /// Makes a deferral without a request. `patience` is the longest time that a busy loop delays the call.
    public init(
        patience: Duration = .milliseconds(50),
        handler: @escaping @EventLoopActor () -> Void
    ) throws(SystemError) {
        self.patience = patience
        self.handler = handler
        super.init()
        let result = unsafe sd_event_add_defer(
            EventLoop.shared.event,
            &source,
            { _, context in
                EventLoopActor.assumeIsolated {
                    unsafe Unmanaged<Deferral>.fromOpaque(context!).takeUnretainedValue().call()
                }
                return 0
            },
            context
        )
        try check("sd_event_add_defer", result)
        setPriority(Int64(SD_EVENT_PRIORITY_IDLE))
        _ = unsafe sd_event_source_set_enabled(source, CInt(SD_EVENT_OFF))
        deadline = try Timer { [weak self] in self?.call() }
    }

    /// Requests one call; further requests before it have no effect.
    public func request() {
        guard !isRequested else { return }
        isRequested = true
        _ = unsafe sd_event_source_set_enabled(source, CInt(SD_EVENT_ONESHOT))
        deadline?.arm(after: patience)
    }

    private func call() {
        isRequested = false
        _ = unsafe sd_event_source_set_enabled(source, CInt(SD_EVENT_OFF))
        deadline?.cancel()
        handler()
    }
}

extension Duration {
    /// Whole microseconds, which libsystemd counts in; negative durations are zero.
    var microseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        return UInt64(seconds) * 1_000_000 + UInt64(attoseconds / 1_000_000_000_000)
    }
}
