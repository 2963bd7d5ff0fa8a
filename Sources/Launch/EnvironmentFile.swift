internal import CLaunch
internal import EnvironmentText

/// A file of environment variables, `env_file`, which is read as the service's account. `export ` in front of a name is
/// skipped. What is no assignment is ignored, with a line on standard error.
struct EnvironmentFile {
    /// The largest file, in bytes.
    private static let bytesLimit = 1024 * 1024

    private let path: CString
    private var text: EnvironmentText

    /// Nil, with errno, when it cannot be read: EFBIG for one that is too large, EBADMSG for one with a NUL, EINVAL for
    /// what is no file.
    init?(_ path: CString) {
        guard let (content, size) = readFile(path, limit: Self.bytesLimit, isRegular: true) else { return nil }
        let bytes = UnsafeRawBufferPointer(start: content, count: size)
        guard !bytes.contains(0) else {
            errno = EBADMSG
            return nil
        }
        self.path = path
        text = EnvironmentText([UInt8](bytes), .init(skipsExport: true))
    }

    /// The next variable as NAME=VALUE, never freed; nil at the end of the file.
    mutating func next() -> UnsafeMutablePointer<CChar>? {
        while let line = text.next() {
            switch line {
            case .variable(let name, let value):
                var entry = Buffer(limit: name.count + 1 + value.count)
                for byte in name { entry.append(CChar(bitPattern: byte)) }
                entry.append("=")
                for byte in value { entry.append(CChar(bitPattern: byte)) }
                return entry.start
            case .other(let number): report(number)
            }
        }
        return nil
    }

    /// Writes that a line is ignored.
    private func report(_ number: Int) {
        var text = Buffer(limit: Int(PATH_MAX) + 128)
        text.append("line ")
        text.append(number: number)
        text.append(" of the env_file ")
        text.append(printable: path)
        text.append(" assigns no variable, and is ignored\n")
        _ = text.write(to: STDERR_FILENO)
    }
}

/// The content of a file, never freed. Nil, with errno, when it cannot be read; EFBIG for one beyond the limit. With
/// `isRegular`, EINVAL for what is neither a regular file nor /dev/null.
func readFile(
    _ path: CString,
    limit: Int,
    isRegular: Bool = false
) -> (content: UnsafeMutablePointer<CChar>, size: Int)? {
    let descriptor = openForReading(path)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    if isRegular {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        guard status.isRegular || status.isNull || status.isDirectory else {
            errno = EINVAL
            return nil
        }
    }
    let content = UnsafeMutablePointer<CChar>.allocate(capacity: limit + 1)
    var size = 0
    while size <= limit {
        let count = read(descriptor, content + size, limit + 1 - size)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return nil }
        guard count > 0 else { return (content, size) }
        size += count
    }
    errno = EFBIG
    return nil
}
