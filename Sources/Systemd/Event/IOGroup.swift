internal import CSystemd
internal import Glibc

/// A group of descriptors with one epoll(7) instance, which sd-event waits for.
///
/// sd-event calls epoll_wait(2) again for each source that it dispatches. A group calls it once for all of its ready
/// descriptors, which halves the cost of waiting for many busy connections.
@safe public final class IOGroup: EventSource {
    public typealias Watch = IOGroupWatch

    /// `unowned`: a watch removes itself in its deinit.
    fileprivate struct Member {
        unowned let watch: Watch
    }

    private let poll: FileDescriptor
    private var ready: [epoll_event]
    fileprivate var members: [CInt: Member] = [:]
    fileprivate var generations: UInt32 = 0

    /// Makes an empty group. `eventsAtATime` events are handled before other sources are dispatched.
    public init(eventsAtATime: Int) throws(SystemError) {
        let descriptor = try checkErrno("epoll_create1") { epoll_create1(CInt(EPOLL_CLOEXEC)) }
        poll = FileDescriptor(adopting: descriptor)
        unsafe ready = Array(repeating: epoll_event(), count: eventsAtATime)
        super.init()
        let result = unsafe sd_event_add_io(
            EventLoop.shared.event,
            &source,
            poll.raw,
            UInt32(EPOLLIN.rawValue),
            { _, _, _, context in
                EventLoopActor.assumeIsolated {
                    unsafe Unmanaged<IOGroup>.fromOpaque(context!).takeUnretainedValue().dispatch()
                }
                return 0
            },
            context
        )
        try check("sd_event_add_io", result)
    }

    /// Watches a descriptor, which must stay open as long as the watch exists. Throws when epoll_ctl(2) fails.
    public func watch(
        _ descriptor: borrowing FileDescriptor,
        _ events: IOWatch.Events,
        handler: @escaping @EventLoopActor (IOWatch.Events) -> Void
    ) throws(SystemError) -> Watch {
        let watch = try Watch(self, descriptor.raw, events, handler)
        members[descriptor.raw] = Member(watch: watch)
        return watch
    }

    fileprivate func remove(_ descriptor: CInt, _ generation: UInt32) {
        members[descriptor] = nil
        // Fails only for a descriptor that is gone.
        try? control(EPOLL_CTL_DEL, descriptor, [], generation)
    }

    private func dispatch() {
        // Errors are ignored: ready descriptors are reported again.
        let count = unsafe epoll_wait(poll.raw, &ready, CInt(ready.count), 0)
        for index in 0..<max(0, Int(count)) {
            let (key, events) = unsafe (ready[index].data.u64, ready[index].events)
            if let handler = handler(of: key) { handler(IOWatch.Events(rawValue: events)) }
        }
    }

    /// The handler of a watch, without a reference to it, as with ``IOWatch``. An earlier handler may have released the
    /// watch, and its descriptor number may have been reused.
    private func handler(of key: UInt64) -> (@EventLoopActor (IOWatch.Events) -> Void)? {
        guard let watch = members[CInt(truncatingIfNeeded: key)]?.watch, UInt64(watch.generation) == key >> 32
        else { return nil }
        return watch.handler
    }

    fileprivate func control(
        _ operation: CInt,
        _ descriptor: CInt,
        _ events: IOWatch.Events,
        _ generation: UInt32
    ) throws(SystemError) {
        var event = unsafe epoll_event()
        unsafe event.events = events.rawValue
        unsafe event.data.u64 = UInt64(generation) << 32 | UInt64(UInt32(bitPattern: descriptor))
        try checkErrno("epoll_ctl") { unsafe epoll_ctl(poll.raw, operation, descriptor, &event) }
    }
}

/// Calls a handler while a descriptor is ready, level-triggered like ``IOWatch``. Must be released before its
/// descriptor is closed.
@EventLoopActor
public final class IOGroupWatch {
    private let group: IOGroup
    private let descriptor: CInt
    fileprivate let handler: @EventLoopActor (IOWatch.Events) -> Void
    /// Distinguishes this watch from an earlier one of the same descriptor number.
    fileprivate let generation: UInt32

    fileprivate init(
        _ group: IOGroup,
        _ descriptor: CInt,
        _ events: IOWatch.Events,
        _ handler: @escaping @EventLoopActor (IOWatch.Events) -> Void
    ) throws(SystemError) {
        self.group = group
        self.descriptor = descriptor
        self.handler = handler
        self.events = events
        group.generations &+= 1
        generation = group.generations
        try group.control(EPOLL_CTL_ADD, descriptor, events, generation)
    }

    isolated deinit { group.remove(descriptor, generation) }

    /// The events to wait for. Empty: only failure and hang-up.
    public var events: IOWatch.Events {
        didSet {
            guard events != oldValue else { return }
            // Fails only for a descriptor that is gone.
            try? group.control(EPOLL_CTL_MOD, descriptor, events, generation)
        }
    }
}
