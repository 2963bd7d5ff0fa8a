internal import CSystemd
internal import Glibc

/// Calls a handler each time that somebody has closed a file which was not open for writing: inotify(7),
/// IN_CLOSE_NOWRITE, through sd_event_add_inotify(3).
///
/// The kernel has a program's file open for as long as a process is that program: execve(2) and the end of the process
/// close it.
public final class CloseWatch: EventSource {
    private let handler: @EventLoopActor () -> Void

    /// Throws ENOENT when there is no such file.
    public init(_ path: String, handler: @escaping @EventLoopActor () -> Void) throws(SystemError) {
        self.handler = handler
        super.init()
        let result = unsafe sd_event_add_inotify(
            EventLoop.shared.event,
            &source,
            path,
            UInt32(IN_CLOSE_NOWRITE),
            { _, _, context in
                EventLoopActor.assumeIsolated { unsafe CloseWatch.handler(context)() }
                return 0
            },
            context
        )
        try check("sd_event_add_inotify", result)
    }

    /// The handler of a watch without the watch, which the handler may let go of.
    private static func handler(_ context: UnsafeMutableRawPointer?) -> @EventLoopActor () -> Void {
        unsafe Unmanaged<CloseWatch>.fromOpaque(context!).takeUnretainedValue().handler
    }
}
