internal import CLaunch

/// The credential `launch`, systemd.exec(5) `LoadCredential=`: environment, directory and command of a service whose
/// texts systemd cannot carry in a unit. `LaunchCredential` in the module Services writes it.
///
/// Its content is strings that each end with a NUL: the number of variables in decimal, each variable as NAME=VALUE,
/// the directory, then the command and its arguments.
struct Credential {
    private static let name: StaticString = "/launch"
    /// systemd takes a credential of at most 1 MiB.
    private static let bytesLimit = 1024 * 1024

    let variables: Words
    /// Directory, command and arguments; a null pointer follows.
    let words: Words

    /// Nil, with errno, when it cannot be read or is malformed (EBADMSG).
    init?(_ environment: Environment) {
        guard let directory = environment.value(of: "CREDENTIALS_DIRECTORY") else {
            errno = ENOENT
            return nil
        }
        var path = Buffer(limit: Int(PATH_MAX))
        path.append(directory)
        path.append(Self.name)
        guard let (content, size) = Self.read(path.text) else { return nil }
        errno = EBADMSG
        guard size > 0, content[size - 1] == 0 else { return nil }
        var count = 0
        for index in 0..<size where content[index] == 0 { count += 1 }
        let memory = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: count + 1)
        var string = content
        for index in 0..<count {
            memory[index] = string
            string += strlen(string) + 1
        }
        memory[count] = nil
        let variablesCount = Int(atoi(content))
        guard variablesCount >= 0, count >= variablesCount + 3 else { return nil }
        variables = Words(memory + 1, count: variablesCount)
        words = Words(memory + 1 + variablesCount, count: count - 1 - variablesCount)
    }

    private static func read(_ path: CString) -> (content: UnsafeMutablePointer<CChar>, size: Int)? {
        let descriptor = openForReading(path)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        let content = UnsafeMutablePointer<CChar>.allocate(capacity: bytesLimit)
        var size = 0
        while size < bytesLimit {
            let count = CLaunch.read(descriptor, content + size, bytesLimit - size)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { return nil }
            guard count > 0 else { break }
            size += count
        }
        return (content, size)
    }
}
