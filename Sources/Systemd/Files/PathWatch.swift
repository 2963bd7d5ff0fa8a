internal import CSystemd

/// Tells when names in directories come, go, or get another content.
@EventLoopActor
public final class PathWatch {
    private var inotify: Inotify?
    private var paths: [CInt: String] = [:]
    private var numbers: [String: CInt] = [:]
    private let handler: @EventLoopActor (Set<Change>) -> Void

    /// A name in a watched directory; nil for a directory that is gone and not watched any more, and for anything in it
    /// where the kernel's queue was too short.
    public struct Change: Hashable, Sendable {
        public let path: String
        public let name: String?
    }

    /// The handler gets all changes that the kernel has queued, each once, and may let go of the watch. Throws what
    /// inotify_init1(2) fails with.
    public init(handler: @escaping @EventLoopActor (Set<Change>) -> Void) throws(SystemError) {
        self.handler = handler
        inotify = try Inotify { [weak self] in self?.look(at: $0) }
    }

    /// Watches a directory; again is no error. Throws ENOENT where there is none.
    public func watch(directory path: String) throws(SystemError) {
        guard numbers[path] == nil, let inotify else { return }
        // A file counts once it is whole: closed after writing, or renamed. Links are there at once.
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
                // It is no longer where its path says; the last event of the watch follows.
                inotify?.remove(event.number)
            }
            changes.insert(Change(path: path, name: event.name.isEmpty ? nil : event.name))
        }
        if !changes.isEmpty { handler(changes) }
    }
}

/// Tells when files are modified, such as those of the kernel's that can be waited for, by the kernel's numbers for
/// them: a watch takes no memory here.
@EventLoopActor
public final class ModificationWatch {
    private var inotify: Inotify?

    /// The handler gets the numbers of files that were modified, and of those that are gone. Throws what
    /// inotify_init1(2) fails with.
    public init(
        handler: @escaping @EventLoopActor (_ modified: Set<Int32>, _ gone: Set<Int32>) -> Void
    ) throws(SystemError) {
        inotify = try Inotify { events in
            let gone = Set(events.filter(\.isLast).map(\.number))
            handler(Set(events.map(\.number)).subtracting(gone), gone)
        }
    }

    /// Watches a file; gives back its number, the same for the same file. Throws ENOENT where there is none.
    public func watch(_ path: String) throws(SystemError) -> Int32 {
        guard let inotify else { throw .notConnected }
        return try inotify.add(path, UInt32(IN_MODIFY))
    }
}
