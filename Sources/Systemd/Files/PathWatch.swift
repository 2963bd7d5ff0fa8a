internal import CSystemd

/// Reports when names in directories are added, removed or get another content.
@EventLoopActor
public final class PathWatch {
    private var inotify: Inotify?
    private var paths: [CInt: String] = [:]
    private var numbers: [String: CInt] = [:]
    private let handler: @EventLoopActor (Set<Change>) -> Void

    /// A changed name in a watched directory; nil when the directory itself was removed and is not watched any more,
    /// and after IN_Q_OVERFLOW, when any name may have changed.
    public struct Change: Hashable, Sendable {
        public let path: String
        public let name: String?
    }

    /// The handler gets all queued changes, each once, and may release the watch. Throws when inotify_init1(2) fails.
    public init(handler: @escaping @EventLoopActor (Set<Change>) -> Void) throws(SystemError) {
        self.handler = handler
        inotify = try Inotify { [weak self] in self?.look(at: $0) }
    }

    /// Watches a directory; a second call has no effect. Throws ENOENT when it does not exist.
    public func watch(directory path: String) throws(SystemError) {
        guard numbers[path] == nil, let inotify else { return }
        // A file counts when it is complete: closed after writing, or renamed. A link is complete at once.
        let names = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE
        let mask = UInt32(names | IN_DELETE_SELF | IN_MOVE_SELF) | UInt32(IN_ONLYDIR)
        let number = try inotify.add(path, mask)
        if let other = paths[number] { numbers[other] = nil }
        paths[number] = path
        numbers[path] = number
    }

    private func look(at events: [Inotify.Event]) {
        var changes: Set<Change> = []
        for event in events {
            if event.number < 0 {
                for path in numbers.keys { changes.insert(Change(path: path, name: nil)) }
                continue
            }
            guard let path = paths[event.number] else { continue }
            if event.isLast {
                paths[event.number] = nil
                numbers[path] = nil
            } else if event.mask & UInt32(IN_MOVE_SELF) != 0 {
                // The directory was renamed; IN_IGNORED follows.
                inotify?.remove(event.number)
            }
            changes.insert(Change(path: path, name: event.name.isEmpty ? nil : event.name))
        }
        if !changes.isEmpty { handler(changes) }
    }
}

/// Reports when files are modified, such as pollable files of the kernel, by their watch descriptors: a watch needs no
/// memory in this process.
@EventLoopActor
public final class ModificationWatch {
    private var inotify: Inotify?

    /// The handler gets the watch descriptors of files that were modified, and of those that were removed. Throws when
    /// inotify_init1(2) fails.
    public init(
        handler: @escaping @EventLoopActor (_ modified: Set<Int32>, _ gone: Set<Int32>) -> Void
    ) throws(SystemError) {
        inotify = try Inotify { events in
            let gone = Set(events.filter(\.isLast).map(\.number))
            handler(Set(events.map(\.number)).subtracting(gone), gone)
        }
    }

    /// Watches a file; returns its watch descriptor, the same for the same file. Throws ENOENT when it does not exist.
    public func watch(_ path: String) throws(SystemError) -> Int32 {
        guard let inotify else { throw .notConnected }
        return try inotify.add(path, UInt32(IN_MODIFY))
    }
}
