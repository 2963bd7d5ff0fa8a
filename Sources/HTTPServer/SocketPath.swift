public import Systemd

/// Keeps a Unix socket where clients look for it.
///
/// Its name can be removed while it is listened on, and then nobody finds it. systemd makes no socket of a service that
/// is active: another one is opened here.
@EventLoopActor
public final class SocketPath {
    private let path: String
    private let opened: @EventLoopActor (ListeningSocket) -> Void
    private let failed: @EventLoopActor (SystemError) -> Void
    /// What was at the path when it was last known to lead to a listener.
    private var known: FileIdentity?
    private var watch: PathWatch?
    private var timer: Timer?
    private var delay = SocketPath.shortestDelay

    /// The wait before another attempt when the socket cannot be opened; it doubles with each.
    static let shortestDelay = Duration.seconds(1)
    static let longestDelay = Duration.seconds(60)

    /// Looks at the path now and whenever something changes in its directory. `opened` gets a socket that has been
    /// opened in place of one whose name is gone; `failed`, why that could not be.
    public init(
        _ path: String,
        opened: @escaping @EventLoopActor (ListeningSocket) -> Void,
        failed: @escaping @EventLoopActor (SystemError) -> Void
    ) throws(SystemError) {
        self.path = path
        self.opened = opened
        self.failed = failed
        timer = try Timer { [weak self] in self?.look() }
        look()
    }

    private func look() {
        do throws(SystemError) {
            // A directory that was removed, or whose watch was lost with it, has none any more. The watch comes first:
            // what changes after it is told.
            let watch = try PathWatch { [weak self] _ in self?.look() }
            try watch.watch(directory: directory)
            self.watch = watch
            try restore()
            timer?.cancel()
            delay = Self.shortestDelay
        } catch {
            failed(error)
            timer?.arm(after: delay)
            delay = min(delay * 2, Self.longestDelay)
        }
    }

    private func restore() throws(SystemError) {
        if let known, known == FileIdentity(path) { return }
        if !ListeningSocket.isListenedOn(path) {
            opened(try .open(.unix(path: path)))
        }
        known = FileIdentity(path)
    }

    private var directory: String {
        let name = path.lastIndex(of: "/").map { path[..<$0] } ?? "."
        return name.isEmpty ? "/" : String(name)
    }
}
