internal import CSystemd
internal import Glibc

/// A libsystemd or libc call that failed, and why. What a caller can only pass on is thrown as this.
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The C function that failed.
    public let call: String
    /// The positive errno value.
    public let code: CInt

    public init(call: String, code: CInt) {
        self.call = call
        self.code = code
    }

    /// A call over a connection that does not stand.
    public static let notConnected = SystemError(call: "connect", code: ENOTCONN)

    /// A wait that took too long.
    public static let timedOut = SystemError(call: "wait", code: ETIMEDOUT)

    /// The error's text as strerror(3) has it: "No space left on device".
    public var reason: String {
        var buffer = [CChar](repeating: 0, count: 256)
        return unsafe buffer.withUnsafeMutableBufferPointer { text in
            unsafe strerror_r(code, text.baseAddress!, text.count)
            return unsafe String(cString: text.baseAddress!)
        }
    }

    public var description: String { "\(call): \(reason)" }

    /// The medium is full or may not be written: the request can be tried again once someone made room.
    public var isStorageFull: Bool { [ENOSPC, EDQUOT, EROFS].contains(code) }

    /// What is there is not a file of the kind or size that was asked for.
    public var isAboutContent: Bool { [EFBIG, EINVAL, ELOOP, EISDIR, ENXIO].contains(code) }

    /// The name does not exist.
    public var isNotFound: Bool { code == ENOENT }

    /// The machine has no such address, or not this kind of network.
    public var isAddressUnavailable: Bool { [EADDRNOTAVAIL, EAFNOSUPPORT].contains(code) }

    /// The call would have to wait; on a non-blocking descriptor this is no failure.
    public var wouldBlock: Bool { code == EAGAIN }
}

/// Turns libsystemd's convention (negative errno) into a thrown error, and gives back what is not negative.
@discardableResult
package func check(_ call: StaticString, _ result: CInt) throws(SystemError) -> CInt {
    guard result >= 0 else { throw SystemError(call: call.description, code: -result) }
    return result
}

/// Turns libc's convention (-1 and `errno`) into a thrown error. A call that a signal interrupted is made again.
@discardableResult
func checkErrno<Count: FixedWidthInteger>(
    _ call: StaticString,
    _ body: () -> Count
) throws(SystemError) -> Count {
    while true {
        let result = body()
        if result >= 0 { return result }
        let code = errno
        if code == EINTR { continue }
        // EBADF and EFAULT are bugs of ours that would hit another descriptor or memory next time.
        precondition(code != EBADF && code != EFAULT, "\(call): errno \(code)")
        throw SystemError(call: call.description, code: code)
    }
}
