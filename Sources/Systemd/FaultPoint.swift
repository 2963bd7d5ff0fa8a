internal import Glibc

/// A point at which tests can kill the process, to prove that the next start repairs what it leaves on disk and in
/// systemd. There is one before and after every change to a directory and every message to the bus.
///
/// Only a build with FAULT_POINTS (`scripts/build --fault-points`) has them; in others `pass()` is empty.
enum FaultPoint {
    @inline(__always)
    static func pass() {
        #if FAULT_POINTS
            Countdown.shared.pass()
        #endif
    }
}

#if FAULT_POINTS
    internal import Synchronization

    /// Counts passes down to the one at which the process is killed. The count is read from a file, which is then
    /// removed.
    private final class Countdown: Sendable {
        static let shared = Countdown()
        private static let path = "/run/miosa-agent/die-at-fault-point"

        private let remaining = Mutex(0)

        func pass() {
            remaining.withLock { remaining in
                if remaining == 0 { remaining = Self.read() }
                guard remaining > 0 else { return }
                remaining -= 1
                if remaining == 0 { kill(getpid(), SIGKILL) }
            }
        }

        private static func read() -> Int {
            let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { return 0 }
            defer { close(descriptor) }
            var digits = [UInt8](repeating: 0, count: 16)
            let count = unsafe Glibc.read(descriptor, &digits, digits.count)
            unsafe unlink(path)
            return Int(String(decoding: digits[..<max(0, count)], as: UTF8.self)) ?? 0
        }
    }
#endif
