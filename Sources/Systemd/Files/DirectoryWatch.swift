internal import CSystemd
internal import Glibc

/// Calls a handler each time that a name in a directory may have changed, or that the directory has gone: inotify(7).
///
/// Not with sd_event_add_inotify(3), as ``CloseWatch``.
@EventLoopActor
public final class DirectoryWatch {
    private let queue: DescriptorHolder
    private var reader: IOWatch?
    private let handler: @EventLoopActor () -> Void

    private static let events = UInt32(
        IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR
    )

    /// Throws ENOENT when there is no such directory. The handler may let go of the watch.
    public init(_ path: String, handler: @escaping @EventLoopActor () -> Void) throws(SystemError) {
        self.handler = handler
        let raw = try checkErrno("inotify_init1") { inotify_init1(CInt(IN_NONBLOCK | IN_CLOEXEC)) }
        queue = DescriptorHolder(FileDescriptor(adopting: raw))
        try checkErrno("inotify_add_watch") { unsafe inotify_add_watch(queue.descriptor.raw, path, Self.events) }
        reader = try IOWatch(queue.descriptor, .readable) { [weak self] _ in self?.read() }
    }

    isolated deinit {
        // Before the descriptor goes.
        reader = nil
    }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        // What has changed is looked at by the handler. What is left is told again.
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe Glibc.read(queue.descriptor.raw, bytes.baseAddress, bytes.count)
        }
        if count > 0 { handler() }
    }
}
