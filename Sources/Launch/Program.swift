internal import CLaunch

/// The command as a program to be executed.
struct Program {
    /// The command and its arguments.
    private let words: Words
    private let environment: Environment

    /// The shell that runs a script without an interpreter line.
    private static let shell: StaticString = "/bin/sh"

    init(_ words: Words, _ environment: Environment) {
        self.words = words
        self.environment = environment
    }

    /// Executes the command: execve(2), with the PATH search of POSIX.1-2024, 8.3. Returns only on failure.
    func execute() -> Failure {
        let command = words[0]
        if end(of: command, at: UInt8(ascii: "/")).pointee != 0 { return execute(command) }
        guard let path = environment.value(of: "PATH") else { return Failure(.search, ENOENT, command) }
        var failure: Failure?
        var directory = path
        while true {
            let end = end(of: directory, at: UInt8(ascii: ":"))
            var file = Buffer(limit: (end - directory) + strlen(command) + 2)
            // An empty directory is the working directory.
            if end == directory { file.append(".") }
            file.append(directory, count: end - directory)
            file.append("/")
            file.append(command)
            let attempt = execute(file.text)
            // In a directory that the account cannot enter the command counts as not found.
            var status = stat()
            if stat(file.text, &status) == 0 { failure = attempt }
            guard end.pointee != 0 else { break }
            directory = end + 1
        }
        return failure ?? Failure(.search, ENOENT, command, path: path)
    }

    /// Executes a file. Returns only on failure.
    private func execute(_ file: CString) -> Failure {
        execve(file, words.pointer, environment.variables)
        let code = errno
        var status = stat()
        guard stat(file, &status) == 0 else { return Failure(.command, code, file) }
        guard status.isRegular else { return Failure(.command, code == ENOEXEC ? EACCES : code, file) }
        var head = Buffer(limit: Header.sizeLimit)
        let header = Header(of: file, &head)
        switch code {
        case ENOEXEC where header.isBinary: return Failure(.format, code, file)
        case ENOEXEC: return runScript(file)
        case ENOENT where header.isBinary: return Failure(.loader, code, file)
        case ENOENT, EACCES, ENOTDIR, ELOOP:
            // The file exists: the missing file is the interpreter.
            guard access(file, X_OK) == 0, let interpreter = header.interpreter else {
                return Failure(.command, code, file)
            }
            if code == ENOENT, header.hasCarriageReturn { return Failure(.lineEnd, code, file) }
            return Failure(.interpreter, code, interpreter)
        default: return Failure(.command, code, file)
        }
    }

    /// Executes a text file without an interpreter line with the shell: POSIX.1-2024, exec, "[ENOEXEC]".
    private func runScript(_ file: CString) -> Failure {
        let count = words.count
        guard let memory = malloc((count + 2) * MemoryLayout<UnsafeMutablePointer<CChar>?>.stride) else {
            return Failure(.command, ENOMEM, file)
        }
        let arguments = memory.assumingMemoryBound(to: UnsafeMutablePointer<CChar>?.self)
        arguments[0] = UnsafeMutablePointer(mutating: Self.shell.cString)
        arguments[1] = UnsafeMutablePointer(mutating: file)
        for index in 1..<max(count, 1) { arguments[index + 1] = words.pointer[index] }
        arguments[count + 1] = nil
        execve(Self.shell.cString, arguments, environment.variables)
        return Failure(.interpreter, errno, Self.shell.cString)
    }

    /// The beginning of a file: execve(2), "Interpreter scripts".
    private struct Header {
        /// The number of bytes that the kernel reads (BINPRM_BUF_SIZE).
        static let sizeLimit = 256

        private(set) var isBinary = false
        private(set) var interpreter: CString?
        /// Whether the interpreter's name ends with a carriage return.
        private(set) var hasCarriageReturn = false

        /// Empty for a file that the account cannot read.
        init(of file: CString, _ buffer: inout Buffer) {
            let descriptor = openForReading(file)
            guard descriptor >= 0 else { return }
            defer { close(descriptor) }
            var bytes = [CChar](repeating: 0, count: Self.sizeLimit)
            let count = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            guard count >= 2 else { return }
            isBinary =
                count >= 4 && bytes[0] == 0x7f && bytes[1] == 0x45 && bytes[2] == 0x4c && bytes[3] == 0x46
            guard bytes[0] == 35, bytes[1] == 33 else { return }
            var index = 2
            while index < count, bytes[index] == 32 || bytes[index] == 9 { index += 1 }
            while index < count, bytes[index] != 32, bytes[index] != 9, bytes[index] != 10, bytes[index] != 0 {
                hasCarriageReturn = bytes[index] == 13
                buffer.append(bytes[index])
                index += 1
            }
            interpreter = buffer.text
        }
    }
}

/// open(2) for reading, without waiting for a writer of a pipe.
func openForReading(_ path: CString) -> CInt { miosa_open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) }
