public import Systemd

/// Restores the path of a listening Unix socket.
///
/// A path can be removed while its socket is listening; clients then cannot connect. systemd does not create the socket
/// of an active service again, so another one is opened here.
@EventLoopActor
public final class SocketPath {
    private let path: String
    private let mode: UInt32
    private let opened: @EventLoopActor (ListeningSocket) -> Void
    private let failed: @EventLoopActor (SystemError) -> Void
    /// The file at the path when it was last known to be a listening socket.
    private var known: FileIdentity?
    private var watch: PathWatch?
    private var timer: Timer?
    private var delay = SocketPath.shortestDelay

    /// The delay before a retry when the socket cannot be opened; it doubles with each failure.
    static let shortestDelay = Duration.seconds(1)
    static let longestDelay = Duration.seconds(60)

    /// Checks the path now and after each change in its directory. `opened` gets a socket that was opened in place of a
    /// removed one, with `mode`; `failed` gets the error when that fails. Throws when the timer cannot be made.
    public init(
        _ path: String,
        mode: UInt32 = 0o660,
        opened: @escaping @EventLoopActor (ListeningSocket) -> Void,
        failed: @escaping @EventLoopActor (SystemError) -> Void
    ) throws(SystemError) {
        self.path = path
        self.mode = mode
        self.opened = opened
        self.failed = failed
        timer = try Timer { [weak self] in self?.look() }
        look()
    }

    private func look() {
        do throws(SystemError) {
            // A new watch each time: a removed directory has lost its own. It is set first, so that later changes are
            // reported.
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
            opened(try .open(.unix(path: path), mode: mode))
        }
        known = FileIdentity(path)
    }

    private var directory: String {
        let name = path.lastIndex(of: "/").map { path[..<$0] } ?? "."
        return name.isEmpty ? "/" : String(name)
    }
}
