internal import CSystemd
internal import Glibc

/// Files that the kernel makes up when they are read, below /proc and /sys: they have no size, and go at any moment
/// with what they tell about.
public enum KernelFile {
    /// The most that is read of one.
    public static let bytesLimit = 1024 * 1024

    /// The text of such a file; nil when it is not there, cannot be read, or is no text.
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
        // Most of these files are a line or two.
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

/// A directory of the kernel's files, opened: to find each of many files below it from there is a third of the way.
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
