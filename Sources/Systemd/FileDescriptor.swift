internal import CSystemd
internal import Glibc

/// An open descriptor with one owner; closed in deinit.
public struct FileDescriptor: ~Copyable {
    let raw: CInt

    /// Takes ownership of an open descriptor.
    init(adopting raw: CInt) {
        precondition(raw >= 0, "not a descriptor: \(raw)")
        self.raw = raw
    }

    /// Waits until written data is on disk: fsync(2).
    func synchronize() throws(SystemError) {
        try checkErrno("fsync") { fsync(raw) }
    }

    /// Allocates the space of a file: posix_fallocate(3).
    func allocate(_ byteCount: Int) throws(SystemError) {
        try checkErrno("posix_fallocate") {
            errno = posix_fallocate(raw, 0, byteCount)
            return errno == 0 ? 0 : -1
        }
    }

    deinit {
        // close(2) frees the number in any case; EBADF would mean that other code has closed this descriptor.
        let result = close(raw)
        precondition(result == 0 || errno != EBADF, "close: descriptor \(raw) was closed twice")
    }
}

/// A reference to a descriptor, so that it can be closed before its owner is released.
public final class DescriptorHolder {
    public let descriptor: FileDescriptor

    public init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
}
