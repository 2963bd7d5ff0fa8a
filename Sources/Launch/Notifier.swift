internal import CLaunch

/// systemd's socket for status messages: sd_notify(3). systemd identifies the sender by its PID and accepts messages
/// only from the unit's main process (`NotifyAccess=main`), so that no other account can send them.
struct Notifier {
    /// The longest status, in bytes. systemd takes messages of at most 4,096.
    static let textLimit = 3500

    private let path: CString
    /// systemd's socket, used when the service's own environment sets another NOTIFY_SOCKET.
    private static let standardPath: StaticString = "/run/systemd/notify"

    init(_ environment: Environment, isKept: Bool) {
        path = isKept ? Self.standardPath.cString : environment.value(of: "NOTIFY_SOCKET") ?? Self.standardPath.cString
    }

    /// The status and its errno, which the unit then has as `StatusText` and `StatusErrno`.
    func send(status: CString, _ code: CInt) {
        var message = Buffer(limit: Self.textLimit + 64)
        message.append("STATUS=")
        message.append(status)
        message.append("\nERRNO=")
        message.append(number: code)
        send(message)
    }

    /// Sends a message, with descriptors for systemd to keep; false, with errno, when that fails.
    @discardableResult
    func send(_ message: borrowing Buffer, _ first: CInt = -1, _ second: CInt = -1) -> Bool {
        let descriptor = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        let isSent = UnixSocket.connect(descriptor, path) && send(message, to: descriptor, first, second)
        let code = errno
        CLaunch.close(descriptor)
        errno = code
        return isSent
    }

    private func send(_ message: borrowing Buffer, to socket: CInt, _ first: CInt, _ second: CInt) -> Bool {
        if first >= 0 { return sendWithDescriptors(socket, message, first, second) }
        return CLaunch.send(socket, message.start, message.count, CInt(MSG_NOSIGNAL)) >= 0
    }

    private func sendWithDescriptors(
        _ socket: CInt,
        _ message: borrowing Buffer,
        _ first: CInt,
        _ second: CInt
    ) -> Bool {
        var vector = iovec(iov_base: UnsafeMutableRawPointer(message.start), iov_len: message.count)
        // cmsg(3): a header of length, level and type, then the descriptors.
        let headerSize = MemoryLayout<Int>.size + 2 * MemoryLayout<CInt>.size
        let controlSize = headerSize + 2 * MemoryLayout<CInt>.size
        let control = UnsafeMutableRawPointer.allocate(byteCount: controlSize, alignment: MemoryLayout<Int>.alignment)
        defer { control.deallocate() }
        control.storeBytes(of: controlSize, as: Int.self)
        let numbers = [SOL_SOCKET, CInt(SCM_RIGHTS), first, second]
        for index in 0..<numbers.count {
            let offset = MemoryLayout<Int>.size + index * MemoryLayout<CInt>.size
            control.storeBytes(of: numbers[index], toByteOffset: offset, as: CInt.self)
        }
        return withUnsafeMutablePointer(to: &vector) { vector in
            var header = msghdr()
            header.msg_iov = vector
            header.msg_iovlen = 1
            header.msg_control = control
            header.msg_controllen = controlSize
            return sendmsg(socket, &header, CInt(MSG_NOSIGNAL)) >= 0
        }
    }
}
