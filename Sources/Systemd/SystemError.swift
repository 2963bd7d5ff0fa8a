internal import CSystemd
internal import Glibc

/// A failed call of libsystemd or libc. Thrown for errors that the caller can only pass on.
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The C function that failed.
    public let call: String
    /// The positive errno value.
    public let code: CInt

    public init(call: String, code: CInt) {
        self.call = call
        self.code = code
    }

    /// A call over a closed connection.
    public static let notConnected = SystemError(call: "connect", code: ENOTCONN)

    /// None of the sockets that were asked for could be opened.
    public static let noListener = SystemError(call: "listen", code: EADDRNOTAVAIL)

    /// A wait that timed out.
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

    /// The disk is full or read-only: the request can be repeated when there is space.
    public var isStorageFull: Bool { [ENOSPC, EDQUOT, EROFS].contains(code) }

    /// The existing file is not of the expected kind or size.
    public var isAboutContent: Bool { [EFBIG, EINVAL, ELOOP, EISDIR, ENXIO].contains(code) }

    /// The name does not exist.
    public var isNotFound: Bool { code == ENOENT }

    /// The machine does not have this kind of network.
    public var isFamilyUnsupported: Bool { code == EAFNOSUPPORT }

    /// Another socket has the address.
    public var isAddressTaken: Bool { code == EADDRINUSE }

    /// The call would block; on a non-blocking descriptor this is no failure.
    public var wouldBlock: Bool { code == EAGAIN }
}

/// Converts libsystemd's convention (negative errno) to a thrown error, and returns any other result.
@discardableResult
package func check(_ call: StaticString, _ result: CInt) throws(SystemError) -> CInt {
    guard result >= 0 else { throw SystemError(call: call.description, code: -result) }
    return result
}

/// Converts libc's convention (-1 and `errno`) to a thrown error. A call that was interrupted by a signal is repeated.
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
        // EBADF and EFAULT are bugs in the agent that could hit another descriptor or other memory next time.
        precondition(code != EBADF && code != EFAULT, "\(call): errno \(code)")
        throw SystemError(call: call.description, code: code)
    }
}
