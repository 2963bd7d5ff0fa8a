internal import CSystemd
internal import Glibc

/// Calls a handler each time that a file has been closed which was not open for writing: inotify(7), IN_CLOSE_NOWRITE.
///
/// The kernel has a program's file open for as long as a process is that program: execve(2) and the end of the process
/// close it.
///
/// Not with sd_event_add_inotify(3): before libsystemd 250 it uses freed memory after a handler that has let go of its
/// watch, and aborts the process.
@EventLoopActor
public final class CloseWatch {
    private let closings: FileClosings
    private let number: CInt

    /// Throws ENOENT when there is no such file. The handler may let go of the watch.
    public init(_ path: String, handler: @escaping @EventLoopActor () -> Void) throws(SystemError) {
        closings = try FileClosings.shared()
        number = try closings.watch(path)
        closings.add(handler, ObjectIdentifier(self), number)
    }

    isolated deinit {
        closings.remove(ObjectIdentifier(self), number)
    }
}

/// The kernel's queue of what is told to all watches, as long as there are any: an account may have 128 queues.
@EventLoopActor
private final class FileClosings {
    private static weak var current: FileClosings?

    private let queue: DescriptorHolder
    private var reader: IOWatch?
    /// By the kernel's number for the file, and by the watch.
    private var handlers: [CInt: [ObjectIdentifier: @EventLoopActor () -> Void]] = [:]

    static func shared() throws(SystemError) -> FileClosings {
        if let current { return current }
        let made = try FileClosings()
        current = made
        return made
    }

    private init() throws(SystemError) {
        let raw = try checkErrno("inotify_init1") { inotify_init1(CInt(IN_NONBLOCK | IN_CLOEXEC)) }
        queue = DescriptorHolder(FileDescriptor(adopting: raw))
        reader = try IOWatch(queue.descriptor, .readable) { [weak self] _ in self?.read() }
    }

    /// The kernel's number for a file, the same for all watches on it.
    func watch(_ path: String) throws(SystemError) -> CInt {
        try checkErrno("inotify_add_watch") {
            unsafe inotify_add_watch(queue.descriptor.raw, path, UInt32(IN_CLOSE_NOWRITE))
        }
    }

    func add(_ handler: @escaping @EventLoopActor () -> Void, _ watch: ObjectIdentifier, _ number: CInt) {
        handlers[number, default: [:]][watch] = handler
    }

    func remove(_ watch: ObjectIdentifier, _ number: CInt) {
        handlers[number]?[watch] = nil
        guard handlers[number]?.isEmpty == true else { return }
        handlers[number] = nil
        // Fails when the file is gone, and its number with it.
        _ = inotify_rm_watch(queue.descriptor.raw, number)
    }

    /// Reads what there is, and calls the handlers of each file once.
    private func read() {
        var numbers: Set<CInt> = []
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
                numbers.insert(event.wd)
                offset += MemoryLayout<inotify_event>.size + Int(event.len)
            }
        }
        // The queue was too short: anything may have been closed.
        if numbers.contains(-1) { numbers.formUnion(handlers.keys) }
        for number in numbers {
            for watch in handlers[number].map({ Array($0.keys) }) ?? [] {
                // An earlier handler may have let go of this watch.
                handlers[number]?[watch]?()
            }
        }
    }
}
