internal import CSystemd
internal import Glibc

/// A text file of an administrator's, which can be behind symbolic links.
public enum TextFile {
    /// The text, repaired where it is not UTF-8. Throws the error of open(2), and EFBIG for a file over `limitBytes`.
    public static func read(_ path: String, limitBytes: Int) throws(SystemError) -> String {
        let file = FileDescriptor(
            adopting: try checkErrno("open") { unsafe open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) }
        )
        var bytes = [UInt8](repeating: 0, count: limitBytes + 1)
        var count = 0
        while count <= limitBytes {
            let more = try checkErrno("read") {
                unsafe bytes.withUnsafeMutableBytes {
                    unsafe Glibc.read(file.raw, $0.baseAddress! + count, $0.count - count)
                }
            }
            if more == 0 { return String(decoding: bytes[..<count], as: UTF8.self) }
            count += more
        }
        throw SystemError(call: "read", code: EFBIG)
    }
}
