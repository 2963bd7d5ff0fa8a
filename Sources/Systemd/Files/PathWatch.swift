internal import CSystemd
internal import Glibc

/// Tells when names in directories come, go, or get another content, and when files are modified: inotify(7).
///
/// Not with sd_event_add_inotify(3), for the reason that ``CloseWatch`` has.
@EventLoopActor
public final class PathWatch {
    private let queue: DescriptorHolder
    private var reader: IOWatch?
    private var paths: [CInt: String] = [:]
    private var numbers: [String: CInt] = [:]
    private let handler: @EventLoopActor (Set<Change>) -> Void

    /// A name in a watched directory; nil for a watched file, for a directory that is gone and not watched any more,
    /// and for anything where the kernel's queue was too short.
    public struct Change: Hashable, Sendable {
        public let path: String
        public let name: String?
    }

    /// The handler gets all changes that the kernel has queued, each once.
    public init(handler: @escaping @EventLoopActor (Set<Change>) -> Void) throws(SystemError) {
        self.handler = handler
        let raw = try checkErrno("inotify_init1") { inotify_init1(CInt(IN_NONBLOCK | IN_CLOEXEC)) }
        queue = DescriptorHolder(FileDescriptor(adopting: raw))
        reader = try IOWatch(queue.descriptor, .readable) { [weak self] _ in self?.read() }
    }

    /// Watches a directory; again is no error. Throws ENOENT where there is none.
    public func watch(directory path: String) throws(SystemError) {
        // A file counts once it is whole: closed after writing, or renamed. Links are there at once.
        let names = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE
        try watch(path, UInt32(names | IN_DELETE_SELF | IN_MOVE_SELF) | UInt32(IN_ONLYDIR))
    }

    /// Watches the content of a file, such as one of the kernel's; again is no error. Throws ENOENT.
    public func watch(file path: String) throws(SystemError) { try watch(path, UInt32(IN_MODIFY)) }

    private func watch(_ path: String, _ mask: UInt32) throws(SystemError) {
        guard numbers[path] == nil else { return }
        let number = try checkErrno("inotify_add_watch") {
            unsafe inotify_add_watch(queue.descriptor.raw, path, mask)
        }
        if let other = paths[number] { numbers[other] = nil }
        paths[number] = path
        numbers[path] = number
    }

    private func read() {
        var changes: Set<Change> = []
        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe Glibc.read(queue.descriptor.raw, bytes.baseAddress, bytes.count)
        }
        // What is left is told again.
        guard count > 0 else { return }
        unsafe buffer.withUnsafeBytes { bytes in
            var offset = 0
            while offset < count {
                let event = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: inotify_event.self)
                offset += MemoryLayout<inotify_event>.size
                let end = offset + Int(event.len)
                let text = unsafe String(decoding: bytes[offset..<end].prefix { $0 != 0 }, as: UTF8.self)
                offset = end
                if event.mask & UInt32(IN_Q_OVERFLOW) != 0 {
                    for path in numbers.keys { changes.insert(Change(path: path, name: nil)) }
                    continue
                }
                guard let path = paths[event.wd] else { continue }
                if event.mask & UInt32(IN_IGNORED) != 0 {
                    paths[event.wd] = nil
                    numbers[path] = nil
                } else if event.mask & UInt32(IN_MOVE_SELF) != 0 {
                    // It is no longer where its path says; IN_IGNORED follows.
                    _ = inotify_rm_watch(queue.descriptor.raw, event.wd)
                }
                changes.insert(Change(path: path, name: text.isEmpty ? nil : text))
            }
        }
        if !changes.isEmpty { handler(changes) }
    }
}
