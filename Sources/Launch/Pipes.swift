internal import CLaunch

/// Standard output and standard error as pipes, which a program can open as /dev/stdout and /dev/stderr: the streams to
/// journald are sockets, of which open(2) says ENXIO.
///
/// A relay, a child of the launcher's, carries what comes through the pipes to the streams, and ends when no process
/// has the pipes open for writing. The pipes have names in the service's runtime directory, and systemd holds a
/// descriptor of each: so what is in a pipe when the whole unit is killed is still there for `launch --drain` in
/// `ExecStopPost=`, and no line is lost.
struct Pipes {
    private let output: CString
    private let error: CString

    /// Those of a service, in its `RuntimeDirectory=`, /run/IDENTIFIER.
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

    /// Makes the pipes, starts the relay, which is `launcher` once more, and puts the pipes in the place of standard
    /// output and error.
    func replaceStandardStreams(_ streams: Streams, _ notifier: Notifier, launcher: CString) -> Failure? {
        guard let outputPipe = Pipe(output), let errorPipe = Pipe(error) else { return Failure(.pipe, errno, output) }
        guard Relay.start(launcher, outputPipe.reader, errorPipe.reader),
            hold(outputPipe.reader, errorPipe.reader, notifier)
        else { return Failure(.pipe, errno, output) }
        dup2(outputPipe.writer, STDOUT_FILENO)
        dup2(errorPipe.writer, STDERR_FILENO)
        return nil
    }

    /// Has systemd hold the pipes, in the place of those of the run before. It looks at the sender's PID when it takes
    /// the message, before it learns of the process's end: sd_notify(3).
    private func hold(_ output: CInt, _ error: CInt, _ notifier: Notifier) -> Bool {
        var message = Buffer(limit: 64)
        message.append("FDSTOREREMOVE=1\nFDNAME=")
        message.append(Self.storeName)
        guard notifier.send(message) else { return false }
        message = Buffer(limit: 64)
        // Not polled: a pipe without a writer is what they are for.
        message.append("FDSTORE=1\nFDPOLL=0\nFDNAME=")
        message.append(Self.storeName)
        return notifier.send(message, output, error)
    }

    /// The name of the pipes in systemd's descriptor store.
    static let storeName: StaticString = "stdio"

    /// Writes to the journal what the last run has left in the pipes, as a rule nothing. Without pipes there is nothing
    /// to do either: the run has not come so far.
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

/// Carries bytes from two pipes to two streams.
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

    /// Starts the relay and waits until it is one; false, with errno, when that fails. It is a child of a child that
    /// has ended: a command that waits for all its children does not wait for the relay.
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
        // What becomes the relay closes the pipe without a word.
        while true {
            let count = read(ends.reader, &code, MemoryLayout<CInt>.size)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return true }
            errno = code
            return false
        }
    }

    /// Tells the launcher the errno with which the start of the relay has failed.
    private static func tell(_ code: CInt, _ report: CInt) {
        var code = code
        _ = writeAll(report, &code, MemoryLayout<CInt>.size)
    }

    /// Becomes `launch --relay`, with the pipes at the descriptors after standard error: a process that a person who
    /// looks at the service can tell from the command, and that does not keep the file open which the launcher closes
    /// by becoming the command.
    private static func become(_ launcher: CString, _ output: CInt, _ error: CInt, report: CInt) -> Never {
        // It ends when the service has, and not by a signal that is meant for the service.
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2] { miosa_signal(signal, 1) }
        // Out of the way first: one of them may have the number that the other one gets.
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
                    // Without an environment, which may hold secrets.
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

    /// Until both pipes have no writer any more.
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

    /// Carries what is in a pipe now, and closes it.
    fileprivate static func drain(_ pipe: CInt, to target: CInt) {
        guard pipe >= 0 else { return }
        while move(pipe, target) > 0 {}
        close(pipe)
    }

    /// Carries what is in a pipe, at most a pipe full; closes the pipe at its end. poll(2) passes over a closed one.
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
    /// The kernel moves them, splice(2): a relay that is killed between a read and a write would take along what it had
    /// read.
    private static func move(_ pipe: CInt, _ target: CInt) -> Int {
        while true {
            let count = miosa_splice(pipe, nil, target, nil, UInt(pipeBytes), 0)
            if count >= 0 || errno == EAGAIN { return count }
            if errno != EINTR { return copy(pipe, target) }
        }
    }

    /// The same where the stream takes no splice(2), as a file that is appended to. What journald does not take is
    /// lost, as it is for a service without pipes.
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
