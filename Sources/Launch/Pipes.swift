internal import CLaunch

/// Standard output and standard error as pipes, which a program can open as /dev/stdout and /dev/stderr. The streams to
/// journald are sockets, for which open(2) fails with ENXIO.
///
/// A relay process copies the content of the pipes to the streams, and ends when no process has the pipes open for
/// writing. The pipes have names in the service's runtime directory, and systemd holds a descriptor of each: when the
/// whole unit is killed, `launch --drain` in `ExecStopPost=` reads the rest, and no line is lost.
struct Pipes {
    private let output: CString
    private let error: CString

    /// The pipes of a service, in its `RuntimeDirectory=`, /run/IDENTIFIER.
    init(of identifier: CString) {
        output = Self.path(identifier, "/stdout")
        error = Self.path(identifier, "/stderr")
    }

    private static func path(_ identifier: CString, _ name: StaticString) -> CString {
        var path = Buffer(limit: strlen(identifier) + 16)
        path.append("/run/")
        path.append(identifier)
        path.append(name)
        return path.text
    }

    /// Creates the pipes, starts the relay (another process of `launcher`), and replaces standard output and error by
    /// the pipes.
    func replaceStandardStreams(_ streams: Streams, _ notifier: Notifier, launcher: CString) -> Failure? {
        guard let outputPipe = Pipe(output), let errorPipe = Pipe(error) else { return Failure(.pipe, errno, output) }
        guard Relay.start(launcher, outputPipe.reader, errorPipe.reader),
            hold(outputPipe.reader, errorPipe.reader, notifier)
        else { return Failure(.pipe, errno, output) }
        dup2(outputPipe.writer, STDOUT_FILENO)
        dup2(errorPipe.writer, STDERR_FILENO)
        return nil
    }

    /// Stores the pipes in systemd's descriptor store, replacing those of the previous run. systemd checks the sender's
    /// PID when it reads the message, before it learns of the process's end: sd_notify(3).
    private func hold(_ output: CInt, _ error: CInt, _ notifier: Notifier) -> Bool {
        var message = Buffer(limit: 64)
        message.append("FDSTOREREMOVE=1\nFDNAME=")
        message.append(Self.storeName)
        guard notifier.send(message) else { return false }
        message = Buffer(limit: 64)
        // FDPOLL=0: systemd would drop a pipe without a writer.
        message.append("FDSTORE=1\nFDPOLL=0\nFDNAME=")
        message.append(Self.storeName)
        return notifier.send(message, output, error)
    }

    /// The name of the pipes in systemd's descriptor store.
    static let storeName: StaticString = "stdio"

    /// Writes the rest of the last run's pipes to the journal, usually nothing. Without pipes the run has failed before
    /// they were created.
    func drain(as identifier: CString, _ notifier: Notifier) {
        Relay.drain(openForReading(output), to: STDOUT_FILENO)
        let error = openForReading(error)
        var pipe = pollfd(fd: error, events: Int16(POLLIN), revents: 0)
        guard error >= 0, poll(&pipe, 1, 0) > 0, pipe.revents & Int16(POLLIN) != 0 else { return }
        let streams = Streams.connect(identifier, notifier)
        streams.awaitMark()
        Relay.drain(error, to: streams.standardError)
    }
}

/// A new pipe with a name. Its descriptors are closed by execve(2).
private struct Pipe {
    let reader: CInt
    let writer: CInt

    /// Nil, with errno, when it cannot be made.
    init?(_ path: CString) {
        unlink(path)
        guard mkfifo(path, 0o600) == 0 else { return nil }
        reader = openForReading(path)
        guard reader >= 0 else { return nil }
        writer = miosa_open(path, O_WRONLY | O_CLOEXEC)
        guard writer >= 0 else { return nil }
    }
}

/// Copies bytes from two pipes to two streams.
struct Relay {
    private var sources: (pollfd, pollfd)
    private let targets: (CInt, CInt)

    /// The size of a pipe: pipe(7).
    private static let pipeBytes = 65536

    init(_ output: CInt, to outputStream: CInt, _ error: CInt, to errorStream: CInt) {
        sources = (
            pollfd(fd: output, events: Int16(POLLIN), revents: 0), pollfd(fd: error, events: Int16(POLLIN), revents: 0)
        )
        targets = (outputStream, errorStream)
    }

    /// Starts the relay and waits until it is executed; false, with errno, when that fails. It is forked twice: a
    /// command that waits for all its children does not wait for the relay.
    fileprivate static func start(_ launcher: CString, _ output: CInt, _ error: CInt) -> Bool {
        var ends: (reader: CInt, writer: CInt) = (-1, -1)
        let isMade = withUnsafeMutablePointer(to: &ends) { ends in
            ends.withMemoryRebound(to: CInt.self, capacity: 2) { miosa_pipe2($0, O_CLOEXEC) == 0 }
        }
        guard isMade else { return false }
        let child = fork()
        if child == 0 {
            let relay = fork()
            if relay == 0 { become(launcher, output, error, report: ends.writer) }
            if relay < 0 { tell(errno, ends.writer) }
            _exit(0)
        }
        var code = errno
        close(ends.writer)
        defer { close(ends.reader) }
        guard child >= 0 else {
            errno = code
            return false
        }
        while waitpid(child, nil, 0) < 0, errno == EINTR {}
        // A successful execve(2) closes the pipe without data.
        while true {
            let count = read(ends.reader, &code, MemoryLayout<CInt>.size)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return true }
            errno = code
            return false
        }
    }

    /// Reports the errno of a failed start to the launcher.
    private static func tell(_ code: CInt, _ report: CInt) {
        var code = code
        _ = writeAll(report, &code, MemoryLayout<CInt>.size)
    }

    /// Executes `launch --relay`, with the pipes as descriptors 3 and 4. As a program of its own it has another command
    /// line than the service's command, and it does not keep the file open whose close marks the execution of the
    /// command.
    private static func become(_ launcher: CString, _ output: CInt, _ error: CInt, report: CInt) -> Never {
        // Signals for the service must not end the relay: it ends when the pipes have no writer.
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2] { miosa_signal(signal, 1) }
        // Duplicated above both targets first: one of them may have the other's target number.
        let first = miosa_fcntl(output, F_DUPFD, errorPipe + 1)
        let second = miosa_fcntl(error, F_DUPFD, errorPipe + 1)
        let report = report > errorPipe ? report : miosa_fcntl(report, F_DUPFD, errorPipe + 1)
        if first >= 0, second >= 0, report >= 0, miosa_fcntl(report, F_SETFD, FD_CLOEXEC) == 0,
            dup2(first, outputPipe) >= 0, dup2(second, errorPipe) >= 0
        {
            close(first)
            close(second)
            var arguments: (UnsafeMutablePointer<CChar>?, UnsafeMutablePointer<CChar>?, UnsafeMutablePointer<CChar>?) =
                (
                    UnsafeMutablePointer(mutating: launcher),
                    UnsafeMutablePointer(mutating: ("--relay" as StaticString).cString), nil
                )
            withUnsafeMutablePointer(to: &arguments) { arguments in
                arguments.withMemoryRebound(to: UnsafeMutablePointer<CChar>?.self, capacity: 3) { arguments in
                    // With an empty environment: the service's may hold secrets.
                    _ = execve(launcher, arguments, arguments + 2)
                }
            }
        }
        tell(errno, report)
        _exit(ExitCode.standardOutput)
    }

    /// The descriptors of the pipes in `launch --relay`.
    static let outputPipe: CInt = 3
    static let errorPipe: CInt = 4

    /// Runs until both pipes have no writer.
    mutating func run() {
        while sources.0.fd >= 0 || sources.1.fd >= 0 {
            let isReady = withUnsafeMutablePointer(to: &sources) { sources in
                sources.withMemoryRebound(to: pollfd.self, capacity: 2) { poll($0, 2, -1) > 0 }
            }
            guard isReady else { continue }
            carry(&sources.0, targets.0)
            carry(&sources.1, targets.1)
        }
    }

    /// Copies the present content of a pipe, and closes it.
    fileprivate static func drain(_ pipe: CInt, to target: CInt) {
        guard pipe >= 0 else { return }
        while move(pipe, target) > 0 {}
        close(pipe)
    }

    /// Copies at most one pipe buffer; closes the pipe at its end. poll(2) ignores a negative descriptor.
    private func carry(_ source: inout pollfd, _ target: CInt) {
        guard source.fd >= 0, source.revents != 0 else { return }
        let count = Self.move(source.fd, target)
        if count == 0 || count < 0 && errno != EAGAIN {
            close(source.fd)
            source.fd = -1
        }
    }

    /// Moves bytes from a pipe to a stream: their number, 0 at the end of the pipe, or -1 with errno.
    ///
    /// With splice(2), so that the bytes stay in the kernel: a relay that is killed between read(2) and write(2) would
    /// lose them.
    private static func move(_ pipe: CInt, _ target: CInt) -> Int {
        while true {
            let count = miosa_splice(pipe, nil, target, nil, UInt(pipeBytes), 0)
            if count >= 0 || errno == EAGAIN { return count }
            if errno != EINTR { return copy(pipe, target) }
        }
    }

    /// The same for a stream that does not support splice(2), such as a file opened with O_APPEND. Bytes that journald
    /// does not accept are lost, like those of a service without pipes.
    private static func copy(_ pipe: CInt, _ target: CInt) -> Int {
        let buffer = UnsafeMutableRawPointer.allocate(byteCount: pipeBytes, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = read(pipe, buffer, pipeBytes)
            if count < 0, errno == EINTR { continue }
            if count > 0 { _ = writeAll(target, buffer, count) }
            return count
        }
    }
}
