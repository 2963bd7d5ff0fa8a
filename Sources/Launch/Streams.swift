internal import CLaunch

/// Standard output and standard error as streams to journald.
///
/// systemd connects both to one stream: journald then knows the unit of each line, but not whether it is output or
/// error. The launcher keeps that stream for standard output and opens another one for standard error, whose lines have
/// the priority `err`. journald looks up the unit of these lines by the process that wrote them, which fails for a
/// process that has ended: so the first line of the stream, the mark, is written by the launcher, which has the PID of
/// the unit's main process.
struct Streams {
    /// journald's socket: systemd-journald.service(8).
    private static let socketPath: StaticString = "/run/systemd/journal/stdout"
    /// The header of a stream after the identifier: no unit, daemon.err, no level prefixes, no forwarding. Then the
    /// mark, U+2060 WORD JOINER, which is `UnitFile.streamMark` in the agent.
    private static let preamble: StaticString = "\n\n27\n0\n0\n0\n0\n\u{2060}\n"
    /// The size that systemd sets for its streams: a service can write for a while when journald is late.
    private static let sendBufferBytes: CInt = 8 * 1024 * 1024

    let standardError: CInt

    /// Connects standard error to its own stream if it shares one with standard output, the default without
    /// StandardOutput= or StandardError= in a drop-in. Without journald both stay what systemd made them, /dev/null,
    /// and systemd is told.
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

    /// A new stream; -1, with errno, when journald does not accept it at once.
    private static func openStream(_ identifier: CString) -> CInt {
        // Non-blocking: a journald that hangs with a full backlog must not block the launcher.
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
            // The command expects a blocking descriptor, like a shell's child.
            miosa_fcntl(descriptor, F_SETFL, 0) == 0
        else {
            let code = errno
            close(descriptor)
            errno = code
            return -1
        }
        return descriptor
    }

    /// Waits until journald has read the mark. journald looks up the unit of a stream's first line by the process that
    /// wrote it, which must exist until then, and keeps the unit for later lines.
    func awaitMark() {
        // A Unix socket is writable while at most a quarter of its send buffer is in use. Of the smallest buffer, 4,608
        // bytes, one message uses less than that and two use more: when the socket is writable after three, the first
        // has been read. journald drops blank lines.
        setSendBuffer(1)
        for _ in 0..<2 { _ = send(standardError, "\n", 1, CInt(MSG_NOSIGNAL)) }
        var stream = pollfd(fd: standardError, events: Int16(POLLOUT), revents: 0)
        // At most 5 s, in case journald hangs.
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
