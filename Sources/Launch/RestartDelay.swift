internal import CLaunch

/// The growing delay of automatic restarts, `restart_max_delay`.
///
/// The first `ExecStartPre=` waits, after systemd's own `RestartSec=`, and the last `ExecStopPost=` notes the end of
/// the run. The file that they share is in the service's runtime directory, which systemd keeps over a restart and
/// removes at a stop (`RuntimeDirectoryPreserve=restart`), so that a start on request does not wait. A restart on
/// request is recognized by its time: it follows the end of the run sooner than `RestartSec=` allows.
struct RestartDelay {
    /// A run of this length, or of the maximum where that is longer, ends the growth.
    private static let steadySeconds = 60
    /// What systemd grants the launcher beyond the wait.
    private static let marginSeconds = 60

    private let path: CString

    /// The file of a service, in its `RuntimeDirectory=`, /run/IDENTIFIER.
    init(of identifier: CString) {
        var path = Buffer(limit: strlen(identifier) + 16)
        path.append("/run/")
        path.append(identifier)
        path.append("/restarts")
        self.path = path.text
    }

    /// The content of the file: the number of automatic restarts in a row, and when the newest run began and ended, in
    /// milliseconds of CLOCK_MONOTONIC. 0 for an end that was not noted.
    struct Content {
        var count = 0
        var begin = 0
        var end = 0
    }

    /// The number of automatic restarts in a row, and the seconds to wait, for a start at the moment `now`: `seconds`
    /// doubled with each restart up to `limit`, less the `seconds` that systemd has waited. `former` is nil for a start
    /// on request.
    static func next(
        after former: Content?,
        at now: Int,
        _ seconds: Int,
        _ limit: Int
    ) -> (count: Int, wait: Int) {
        guard let former else { return (0, 0) }
        let end = former.end > 0 ? former.end : now - seconds * 1000
        guard now - end >= seconds * 1000 else { return (0, 0) }
        let isSteady = end - former.begin >= max(steadySeconds, limit) * 1000
        let count = isSteady ? 1 : former.count + 1
        var delay = seconds
        for _ in 1..<count where delay < limit { delay *= 2 }
        return (count, min(delay, limit) - seconds)
    }

    /// Waits before an automatic restart.
    func wait(_ seconds: Int, _ limit: Int, _ notifier: Notifier) {
        let now = Self.now()
        let (count, wait) = Self.next(after: read(), at: now, seconds, limit)
        if wait > 0 {
            // TimeoutStartSec= is for the service's own commands: sd_notify(3).
            var message = Buffer(limit: 64)
            message.append("EXTEND_TIMEOUT_USEC=")
            message.append(number: CInt(wait + Self.marginSeconds))
            message.append("000000")
            notifier.send(message)
            let moment = now + wait * 1000
            var time = timespec(tv_sec: moment / 1000, tv_nsec: moment % 1000 * 1_000_000)
            while clock_nanosleep(CLOCK_MONOTONIC, CInt(TIMER_ABSTIME), &time, nil) == EINTR {}
        }
        write(Content(count: count, begin: Self.now(), end: 0))
    }

    /// Notes the end of a run.
    func noteEnd() {
        guard var content = read() else { return }
        content.end = Self.now()
        write(content)
    }

    private static func now() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }

    /// Nil for a service that was started on request, or a file that is none of the launcher's.
    private func read() -> Content? {
        guard let (bytes, size) = readFile(path, limit: 128, isRegular: true) else { return nil }
        bytes[size] = 0
        var numbers = (0, 0, 0)
        var rest = CString(bytes)
        for index in 0..<3 {
            var next: UnsafeMutablePointer<CChar>?
            let number = strtol(rest, &next, 10)
            guard let next, CString(next) != rest, number >= 0 else { return nil }
            switch index {
            case 0: numbers.0 = min(number, 64)
            case 1: numbers.1 = min(number, Self.now())
            default: numbers.2 = min(number, Self.now())
            }
            rest = CString(next)
        }
        return Content(count: numbers.0, begin: numbers.1, end: numbers.2)
    }

    /// Without room for it the next restart does not wait.
    private func write(_ content: Content) {
        let descriptor = creat(path, 0o600)
        guard descriptor >= 0 else { return }
        var text = Buffer(limit: 80)
        for number in [content.count, content.begin, content.end] {
            text.append(number: number)
            text.append(" ")
        }
        _ = text.write(to: descriptor)
        close(descriptor)
    }
}
