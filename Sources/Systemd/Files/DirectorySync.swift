/// Changes of names in directories that are made durable together: where the directories share a journal, the first one
/// that is synchronized takes the others along.
///
/// What several changes of one operation may have in common. Until ``synchronize()`` has returned a crash can undo any
/// of them, the later ones first.
public final class DirectorySync {
    private var directories: [DescriptorHolder] = []
    private var failure: SystemError?

    public init() {}

    func add(_ directory: borrowing Directory) throws(SystemError) {
        directories.append(DescriptorHolder(try directory.duplicateDescriptor()))
    }

    /// Waits until all of them are on disk: fsync(2). Once that has failed it fails every time: the kernel tells an
    /// error of the disk only once.
    public func synchronize() throws(SystemError) {
        if let failure { throw failure }
        do throws(SystemError) {
            for directory in directories { try directory.descriptor.synchronize() }
        } catch {
            failure = error
            throw error
        }
        directories = []
    }
}
