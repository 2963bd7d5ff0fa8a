internal import CSystemd
internal import Glibc

/// An open descriptor with one owner; closed when the owner goes.
public struct FileDescriptor: ~Copyable {
    let raw: CInt

    /// Takes over an open descriptor.
    init(adopting raw: CInt) {
        precondition(raw >= 0, "not a descriptor: \(raw)")
        self.raw = raw
    }

    /// Waits until what was written is on disk: fsync(2).
    func synchronize() throws(SystemError) {
        try checkErrno("fsync") { fsync(raw) }
    }

    deinit {
        // After close(2) the number is free whatever it returns; EBADF would mean that somebody else closed ours.
        let result = close(raw)
        precondition(result == 0 || errno != EBADF, "close: descriptor \(raw) was closed twice")
    }
}

/// A descriptor that can be let go of while its owner stays.
public final class DescriptorHolder {
    public let descriptor: FileDescriptor

    public init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
}
