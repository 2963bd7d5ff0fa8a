internal import CLaunch

/// The credential `launch`, systemd.exec(5) `LoadCredential=`: environment, directory and commands of a service whose
/// texts systemd cannot carry in a unit. `LaunchCredential` in the module Services writes it.
///
/// Its content is strings that each end with a NUL: the number of variables in decimal, each variable as NAME=VALUE or
/// the path of a file with variables, the directory, then for each command the number of its words and the words.
struct Credential {
    private static let name: StaticString = "/launch"
    /// systemd takes a credential of at most 1 MiB.
    private static let bytesLimit = 1024 * 1024

    let variables: Words
    /// Directory, command and arguments; a null pointer follows.
    let words: Words

    /// The file in a directory.
    private static func path(_ directory: CString) -> CString {
        var path = Buffer(limit: Int(PATH_MAX))
        path.append(directory)
        path.append(name)
        return path.text
    }

    private static func read(in directory: CString) -> (content: UnsafeMutablePointer<CChar>, size: Int)? {
        readFile(path(directory), limit: bytesLimit)
    }

    /// Copies the credential to a file that only the account can read.
    private static func keep(_ content: CString, _ size: Int, in directory: CString) {
        let descriptor = creat(path(directory), 0o600)
        guard descriptor >= 0 else { return }
        _ = writeAll(descriptor, content, size)
        close(descriptor)
    }

    /// Nil, with errno, when it cannot be read, is malformed, or does not have that many commands (EBADMSG). Where
    /// systemd has none, as in `ExecStopPost=` of newer versions or with a sandbox, the copy is read.
    init?(_ environment: Environment, _ request: Request, command: Int) {
        errno = ENOENT
        var file = environment.value(of: "CREDENTIALS_DIRECTORY").flatMap { Self.read(in: $0) }
        let code = errno
        if file == nil { file = Self.read(in: request.runtimeDirectory) }
        guard let (content, size) = file else {
            errno = code
            return nil
        }
        if request.keepsCredential { Self.keep(content, size, in: request.runtimeDirectory) }
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
        guard variablesCount >= 0, variablesCount + 2 < count else { return nil }
        variables = Words(memory + 1, count: variablesCount)
        // The string with the number of words.
        var index = variablesCount + 2
        for _ in 0..<max(0, command) {
            guard index < count else { return nil }
            index += 1 + max(0, Int(atoi(memory[index]!)))
        }
        guard index < count else { return nil }
        let wordsCount = Int(atoi(memory[index]!))
        guard wordsCount > 0, index + wordsCount < count else { return nil }
        // The numbers in front and behind are not needed any more.
        memory[index] = memory[variablesCount + 1]
        memory[index + 1 + wordsCount] = nil
        words = Words(memory + index, count: 1 + wordsCount)
    }
}
