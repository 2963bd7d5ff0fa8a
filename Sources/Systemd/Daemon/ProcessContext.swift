internal import CSystemd
internal import Glibc

/// The environment, the standard streams and the accounts of the process.
public enum ProcessContext {
    /// The environment; an entry that is not UTF-8 is repaired with U+FFFD.
    public static func environment() -> [String: String] {
        var values: [String: String] = [:]
        var next = unsafe environ
        while let entry = unsafe next.pointee {
            let text = unsafe String(cString: entry)
            if let equals = text.firstIndex(of: "=") {
                values[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            unsafe next += 1
        }
        return values
    }

    /// Whether standard error goes to the journal: systemd.exec(5), `JOURNAL_STREAM`.
    public static func standardErrorIsJournal(_ journalStream: String?) -> Bool {
        guard let journalStream else { return false }
        var status = stat()
        guard unsafe fstat(STDERR_FILENO, &status) == 0 else { return false }
        return journalStream == "\(status.st_dev):\(status.st_ino)"
    }

    /// Writes a line to standard output or standard error.
    public static func write(_ line: String, toStandardError: Bool = false) {
        var bytes = Array(line.utf8)
        bytes.append(UInt8(ascii: "\n"))
        let descriptor = toStandardError ? STDERR_FILENO : STDOUT_FILENO
        var offset = 0
        while offset < bytes.count {
            let count = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress! + offset, $0.count - offset)
            }
            // The stream has no reader, and there is no other place to report that.
            guard count > 0 else { return }
            offset += count
        }
    }

    /// The name of this machine: gethostname(2).
    public static func hostname() -> String {
        var name = [CChar](repeating: 0, count: 256)
        return unsafe name.withUnsafeMutableBufferPointer { buffer in
            // The buffer is larger than HOST_NAME_MAX, the only cause of a failure.
            _ = unsafe gethostname(buffer.baseAddress!, buffer.count - 1)
            return unsafe String(cString: buffer.baseAddress!)
        }
    }

    /// The id of this process.
    public static var processID: Int { Int(getpid()) }

    /// Whether the process runs as root.
    public static var isRoot: Bool { geteuid() == 0 }

    /// Whether systemd is this machine's init: sd_booted(3).
    public static var isManagedBySystemd: Bool { sd_booted() > 0 }

    /// Whether an account of that name exists in any source of the name service switch: nsswitch.conf(5).
    public static func accountExists(_ name: String) -> Bool { unsafe getpwnam(name) != nil }

    /// The number of an account; nil where there is none.
    public static func userID(of name: String) -> UInt32? { unsafe getpwnam(name)?.pointee.pw_uid }

    /// The gid of a group; nil where there is none of that name.
    public static func groupID(of name: String) -> UInt32? { unsafe getgrnam(name)?.pointee.gr_gid }

    /// Ends the process with an exit status.
    public static func exit(_ status: Int32) -> Never { Glibc.exit(status) }
}
