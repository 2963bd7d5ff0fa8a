internal import CSystemd
internal import Glibc

/// An inotify instance: inotify(7).
///
/// sd_event_add_inotify(3) is not used: before libsystemd 250 it accesses freed memory after a handler that has
/// released its watch, and aborts the process.
@EventLoopActor
final class Inotify {
    struct Event {
        /// The watch descriptor; -1 for IN_Q_OVERFLOW, when events were lost.
        let number: CInt
        let mask: UInt32
        /// The name in a directory; empty for the file or directory itself.
        let name: String

        /// IN_IGNORED: the watch is removed, with its file or on request.
        var isLast: Bool { mask & UInt32(IN_IGNORED) != 0 }
    }

    private let queue: DescriptorHolder
    private var reader: IOWatch?
    private let handler: @EventLoopActor ([Event]) -> Void

    /// The handler gets all queued events. Throws when inotify_init1(2) fails.
    init(handler: @escaping @EventLoopActor ([Event]) -> Void) throws(SystemError) {
        self.handler = handler
        let raw = try checkErrno("inotify_init1") { inotify_init1(CInt(IN_NONBLOCK | IN_CLOEXEC)) }
        queue = DescriptorHolder(FileDescriptor(adopting: raw))
        reader = try IOWatch(queue.descriptor, .readable) { [weak self] _ in self?.read() }
    }

    isolated deinit {
        // Before the descriptor is closed.
        reader = nil
    }

    /// Watches a file or directory; returns the watch descriptor, which is the same for the same file. Throws ENOENT
    /// when it does not exist.
    func add(_ path: String, _ mask: UInt32) throws(SystemError) -> CInt {
        try checkErrno("inotify_add_watch") { unsafe inotify_add_watch(queue.descriptor.raw, path, mask) }
    }

    /// Fails when the file is removed, which has removed the watch as well.
    func remove(_ number: CInt) { _ = inotify_rm_watch(queue.descriptor.raw, number) }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe Glibc.read(queue.descriptor.raw, bytes.baseAddress, bytes.count)
        }
        // The watch is level-triggered: the remaining events are read at the next call.
        guard count > 0 else { return }
        var events: [Event] = []
        unsafe buffer.withUnsafeBytes { bytes in
            var offset = 0
            while offset < count {
                let event = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: inotify_event.self)
                offset += MemoryLayout<inotify_event>.size
                let end = offset + Int(event.len)
                let name = unsafe String(decoding: bytes[offset..<end].prefix { $0 != 0 }, as: UTF8.self)
                events.append(Event(number: event.wd, mask: event.mask, name: name))
                offset = end
            }
        }
        handler(events)
    }
}
