/// Changes of names in directories that are made durable together: where the directories share a journal, the first one
/// that is synchronized takes the others along.
///
/// What several changes of one operation may have in common. Until ``synchronize()`` has returned a crash can undo any
/// of them, the later ones first.
public final class NameChanges {
    private var directories: [DescriptorHolder] = []

    public init() {}

    func add(_ directory: borrowing Directory) throws(SystemError) {
        directories.append(DescriptorHolder(try directory.duplicateDescriptor()))
    }

    /// Waits until all of them are on disk: fsync(2).
    public func synchronize() throws(SystemError) {
        for directory in directories { try directory.descriptor.synchronize() }
        directories = []
    }
}
