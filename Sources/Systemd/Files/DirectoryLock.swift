internal import CSystemd
internal import Glibc

/// A lock on a directory, for one process at a time: flock(2). Released with this object, and by the end of the
/// process.
public final class DirectoryLock {
    private let directory: FileDescriptor

    /// Locks a directory, which is created when it is missing; nil when another process holds the lock.
    public init?(_ path: String, creatingWithMode mode: UInt32) throws(SystemError) {
        directory = try Directory(path, creatingWithMode: mode).duplicateDescriptor()
        do throws(SystemError) {
            try checkErrno("flock") { flock(directory.raw, LOCK_EX | LOCK_NB) }
        } catch let error where error.code == EWOULDBLOCK {
            return nil
        }
    }
}
