internal import CSystemd
internal import Glibc

/// Calls a handler each time a file that was not open for writing is closed: inotify(7), IN_CLOSE_NOWRITE.
///
/// The kernel keeps a program's file open while a process executes it: execve(2) and the end of the process close it.
@EventLoopActor
public final class CloseWatch {
    private let closings: FileClosings
    private let number: CInt

    /// Throws ENOENT when there is no such file. The handler may release the watch.
    public init(_ path: String, handler: @escaping @EventLoopActor () -> Void) throws(SystemError) {
        closings = try FileClosings.shared()
        number = try closings.watch(path)
        closings.add(handler, ObjectIdentifier(self), number)
    }

    isolated deinit {
        closings.remove(ObjectIdentifier(self), number)
    }
}

/// The inotify instance that all watches share, as long as there are any: by default an account may have 128 instances.
@EventLoopActor
private final class FileClosings {
    private static weak var current: FileClosings?

    private var inotify: Inotify?
    /// By watch descriptor and watch object.
    private var handlers: [CInt: [ObjectIdentifier: @EventLoopActor () -> Void]] = [:]

    static func shared() throws(SystemError) -> FileClosings {
        if let current { return current }
        let made = try FileClosings()
        current = made
        return made
    }

    private init() throws(SystemError) {
        inotify = try Inotify { [weak self] in self?.look(at: $0) }
    }

    /// The watch descriptor of a file, the same for all watches on it.
    func watch(_ path: String) throws(SystemError) -> CInt {
        guard let inotify else { throw .notConnected }
        return try inotify.add(path, UInt32(IN_CLOSE_NOWRITE))
    }

    func add(_ handler: @escaping @EventLoopActor () -> Void, _ watch: ObjectIdentifier, _ number: CInt) {
        handlers[number, default: [:]][watch] = handler
    }

    func remove(_ watch: ObjectIdentifier, _ number: CInt) {
        handlers[number]?[watch] = nil
        guard handlers[number]?.isEmpty == true else { return }
        handlers[number] = nil
        inotify?.remove(number)
    }

    /// Calls the handlers of each file once.
    private func look(at events: [Inotify.Event]) {
        var numbers = Set(events.map(\.number))
        // IN_Q_OVERFLOW: any file may have been closed.
        if numbers.contains(-1) { numbers.formUnion(handlers.keys) }
        for number in numbers {
            for watch in handlers[number].map({ Array($0.keys) }) ?? [] {
                // An earlier handler may have released this watch.
                handlers[number]?[watch]?()
            }
        }
    }
}
