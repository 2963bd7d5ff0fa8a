internal import CSystemd
internal import Glibc

/// A signal number, with the name that signal(7) gives it.
public struct Signal: RawRepresentable, Hashable, Sendable {
    public let rawValue: CInt
    public init(rawValue: CInt) { self.rawValue = rawValue }

    public static let hangUp = Signal(rawValue: SIGHUP)
    public static let interrupt = Signal(rawValue: SIGINT)
    public static let terminate = Signal(rawValue: SIGTERM)
    /// Carries the reply to ``request(from:within:)``.
    static let reply = Signal(rawValue: SIGUSR1)

    /// Makes writes to a closed peer fail with EPIPE instead of ending the process.
    public static func ignorePipe() {
        _ = signal(SIGPIPE, SIG_IGN)
    }

    /// The value that a request carries: sigqueue(3). A sender without it, such as kill(1), gets no reply, which would
    /// end it.
    fileprivate static let requestValue: CInt = 0x4d69_6f73

    /// Blocks the signal in this thread: sigprocmask(2).
    func block() throws(SystemError) {
        var set = set
        try check("pthread_sigmask", -(unsafe pthread_sigmask(SIG_BLOCK, &set, nil)))
    }

    private var set: sigset_t {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        unsafe sigaddset(&set, rawValue)
        return set
    }

    /// Sends the signal to a process and waits for its reply, ``SignalSender/reply(_:)``. For a process without other
    /// threads. Throws ESRCH when there is no such process, and ``SystemError/timedOut`` without a reply in time.
    public func request(from pid: Int, within patience: Duration) throws(SystemError) -> Int {
        try Signal.reply.block()
        let deadline = MonotonicClock.now().advanced(by: patience)
        try checkErrno("sigqueue") {
            unsafe sigqueue(pid_t(pid), rawValue, sigval(sival_int: Signal.requestValue))
        }
        while true {
            let rest = deadline.duration(since: .now())
            guard rest > .zero else { throw .timedOut }
            var set = Signal.reply.set
            var info = unsafe siginfo_t()
            var time = timespec()
            time.tv_sec = Int(rest.microseconds / 1_000_000)
            time.tv_nsec = Int(rest.microseconds % 1_000_000) * 1000
            guard unsafe sigtimedwait(&set, &info, &time) >= 0 else {
                // EAGAIN: no signal in time.
                if errno == EAGAIN || errno == EINTR { continue }
                throw SystemError(call: "sigtimedwait", code: errno)
            }
            let sender = unsafe info._sifields._rt
            guard unsafe info.si_code == SI_QUEUE, unsafe sender.si_pid == pid_t(pid) else { continue }
            return unsafe Int(sender.si_sigval.sival_int)
        }
    }
}

/// The sender of a signal.
public struct SignalSender: Sendable {
    private let pid: pid_t
    private let isRequest: Bool

    init(_ info: signalfd_siginfo) {
        pid = pid_t(bitPattern: info.ssi_pid)
        isRequest = info.ssi_code == SI_QUEUE && info.ssi_int == Signal.requestValue
    }

    /// Sends a number to the sender if it waits for one: ``Signal/request(from:within:)``.
    public func reply(_ value: Int) {
        guard isRequest else { return }
        // A sender that has ended needs no reply.
        _ = unsafe sigqueue(pid, Signal.reply.rawValue, sigval(sival_int: CInt(truncatingIfNeeded: value)))
    }
}
