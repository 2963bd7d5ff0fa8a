/// Changed directories that are made durable together: when they share a file system journal, the first fsync(2)
/// commits the others as well.
///
/// Shared by the changes of one operation. Until ``synchronize()`` has returned a crash can undo any of them, the later
/// ones first.
public final class DirectorySync {
    private var directories: [DescriptorHolder] = []
    private var failure: SystemError?

    public init() {}

    func add(_ directory: borrowing Directory) throws(SystemError) {
        directories.append(DescriptorHolder(try directory.duplicateDescriptor()))
    }

    /// Waits until all of them are on disk: fsync(2). Throws its error; once failed it fails every time, because the
    /// kernel reports a disk error only once.
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
