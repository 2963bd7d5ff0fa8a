internal import CSystemd
internal import Glibc

/// Files of kernel file systems, below /proc and /sys: they have no size, and can disappear at any moment.
public enum KernelFile {
    /// The number of bytes that are read at most.
    public static let bytesLimit = 1024 * 1024

    /// The text of such a file; nil when it does not exist, cannot be read, or is not UTF-8.
    public static func text(_ path: String) -> String? { text(path, below: AT_FDCWD) }

    fileprivate static func text(_ path: String, below directory: CInt) -> String? {
        do throws(SystemError) {
            let file = FileDescriptor(
                adopting: try checkErrno("openat") {
                    unsafe openat(directory, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
                }
            )
            return String(validating: try read(file), as: UTF8.self)
        } catch {
            return nil
        }
    }

    private static func read(_ file: borrowing FileDescriptor) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        // Most of these files have one or two lines.
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = try checkErrno("read") {
                unsafe chunk.withUnsafeMutableBytes { unsafe Glibc.read(file.raw, $0.baseAddress, $0.count) }
            }
            if count == 0 { return bytes }
            bytes.append(contentsOf: chunk[..<count])
            guard bytes.count <= bytesLimit else { throw SystemError(call: "read", code: EFBIG) }
        }
    }
}

/// An open directory of a kernel file system: opening many files relative to it takes a third of the time.
public final class KernelDirectory {
    private let descriptor: FileDescriptor

    /// Nil when there is none.
    public init?(_ path: String) {
        do throws(SystemError) {
            descriptor = FileDescriptor(
                adopting: try checkErrno("open") { unsafe open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) }
            )
        } catch {
            return nil
        }
    }

    /// The text of a file below it, as ``KernelFile/text(_:)`` has it.
    public func text(_ path: String) -> String? { KernelFile.text(path, below: descriptor.raw) }
}
