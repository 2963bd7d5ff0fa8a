internal import CLaunch

/// Standard output and standard error as streams to journald.
///
/// systemd connects both to one stream: journald then knows the unit of each line, but not which of the two it came
/// through. The launcher leaves that stream to standard output and makes one of its own for standard error, whose lines
/// have the priority `err`. journald learns the unit of these lines from the process that wrote them, and of one
/// that has died by then not at all: so the first line of the stream, the mark, is the launcher's, whose PID is that of
/// the unit's main process.
struct Streams {
    /// journald's socket: systemd-journald.service(8).
    private static let socketPath: StaticString = "/run/systemd/journal/stdout"
    /// What a stream begins with, behind the identifier: no unit, daemon.err, no level prefixes, nothing forwarded.
    /// Then the mark, U+2060 WORD JOINER: the agent knows it as `UnitFile.streamMark`.
    private static let preamble: StaticString = "\n\n27\n0\n0\n0\n0\n\u{2060}\n"
    /// As systemd asks for its streams: a service goes on for a while when journald is late.
    private static let sendBufferBytes: CInt = 8 * 1024 * 1024

    let standardError: CInt

    /// Connects standard error to a stream of its own where it shares one with standard output, as it does unless
    /// a drop-in of the unit sets StandardOutput= or StandardError=. Without journald both stay what systemd made
    /// them, /dev/null, and systemd is told.
    static func connect(_ identifier: CString, _ notifier: Notifier) -> Streams {
        let streams = Streams(standardError: STDERR_FILENO)
        var output = stat()
        var error = stat()
        guard fstat(STDOUT_FILENO, &output) == 0, fstat(STDERR_FILENO, &error) == 0,
            output.st_dev == error.st_dev, output.st_ino == error.st_ino
        else { return streams }
        guard output.isSocket || output.isNull else { return streams }
        let descriptor = openStream(identifier)
        if descriptor < 0 {
            if output.isNull { reportMissing(errno, to: notifier) }
        } else if output.isSocket {
            dup2(descriptor, STDERR_FILENO)
        }
        if descriptor > STDERR_FILENO { close(descriptor) }
        return streams
    }

    /// A new stream; -1, with errno, when journald does not take one at once.
    private static func openStream(_ identifier: CString) -> CInt {
        // Not to wait for a journald that hangs and whose queue is full.
        let type = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        let descriptor = socket(AF_UNIX, CInt(type), 0)
        guard descriptor >= 0 else { return -1 }
        var size = sendBufferBytes
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<CInt>.size))
        var preamble = Buffer(limit: strlen(identifier) + Self.preamble.utf8CodeUnitCount)
        preamble.append(identifier)
        preamble.append(Self.preamble)
        guard UnixSocket.connect(descriptor, socketPath.cString), shutdown(descriptor, CInt(SHUT_RD)) == 0,
            send(descriptor, preamble.start, preamble.count, CInt(MSG_NOSIGNAL)) == preamble.count,
            // The command expects what a shell's child has: a descriptor that blocks.
            miosa_fcntl(descriptor, F_SETFL, 0) == 0
        else {
            let code = errno
            close(descriptor)
            errno = code
            return -1
        }
        return descriptor
    }

    /// Waits until journald has read the mark. With the first line of a stream it looks the unit up by the process that
    /// wrote it, which must be there until then; what follows it takes for the same unit's.
    func awaitMark() {
        // A Unix socket is writable while at most a quarter of its buffer is taken: of the least one, 4,608 bytes,
        // a message takes less than that, and two of them more. Of three the first has then been read. journald drops
        // blank lines.
        setSendBuffer(1)
        for _ in 0..<2 { _ = send(standardError, "\n", 1, CInt(MSG_NOSIGNAL)) }
        var stream = pollfd(fd: standardError, events: Int16(POLLOUT), revents: 0)
        // A journald that hangs is not waited for.
        _ = poll(&stream, 1, 5000)
        setSendBuffer(Self.sendBufferBytes)
    }

    private func setSendBuffer(_ bytes: CInt) {
        var size = bytes
        setsockopt(standardError, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<CInt>.size))
    }

    private static func reportMissing(_ code: CInt, to notifier: Notifier) {
        var text = Buffer(limit: 256)
        text.append("launch: journal ")
        text.append(number: code)
        text.append(" (")
        text.append(CString(strerror(code)))
        text.append("): ")
        text.append(socketPath)
        notifier.send(status: text.text, code)
    }
}
