internal import CSystemd
internal import Glibc

/// A queue of the kernel's in which it tells what happens to files: inotify(7).
///
/// Not with sd_event_add_inotify(3): before libsystemd 250 it uses freed memory after a handler that has let go of its
/// watch, and aborts the process.
@EventLoopActor
final class Inotify {
    struct Event {
        /// The kernel's number for the file or directory; -1 where the queue was too short and events were lost.
        let number: CInt
        let mask: UInt32
        /// The name in a directory; empty for the file or directory itself.
        let name: String

        /// The watch is gone, because the file is or on request.
        var isLast: Bool { mask & UInt32(IN_IGNORED) != 0 }
    }

    private let queue: DescriptorHolder
    private var reader: IOWatch?
    private let handler: @EventLoopActor ([Event]) -> Void

    /// The handler gets all events that are queued.
    init(handler: @escaping @EventLoopActor ([Event]) -> Void) throws(SystemError) {
        self.handler = handler
        let raw = try checkErrno("inotify_init1") { inotify_init1(CInt(IN_NONBLOCK | IN_CLOEXEC)) }
        queue = DescriptorHolder(FileDescriptor(adopting: raw))
        reader = try IOWatch(queue.descriptor, .readable) { [weak self] _ in self?.read() }
    }

    isolated deinit {
        // Before the descriptor goes.
        reader = nil
    }

    /// Watches a file or directory; gives back the kernel's number for it, which is the same for the same file. Throws
    /// ENOENT where there is none.
    func add(_ path: String, _ mask: UInt32) throws(SystemError) -> CInt {
        try checkErrno("inotify_add_watch") { unsafe inotify_add_watch(queue.descriptor.raw, path, mask) }
    }

    /// Fails when the file is gone, and its number with it.
    func remove(_ number: CInt) { _ = inotify_rm_watch(queue.descriptor.raw, number) }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe Glibc.read(queue.descriptor.raw, bytes.baseAddress, bytes.count)
        }
        // What is left is told again.
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
