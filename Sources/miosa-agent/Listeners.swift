internal import HTTPServer
internal import Systemd

/// The listening sockets of the daemon: those that systemd passes, and those that it opens itself.
///
/// No socket takes another one down: one that cannot be opened is reported, and opened when it can be.
@EventLoopActor
final class Listeners {
    private let server: Server
    private let log: Log
    /// The owner of an address, for the log.
    private let holder: @EventLoopActor (SocketAddress) -> String?
    /// The addresses of failed socket units; nil when systemd cannot be asked.
    private let failedAddresses: @EventLoopActor () async -> [String]?
    /// Sockets that are not served yet: connections wait in the kernel's backlog.
    private var waiting: [ListeningSocket] = []
    private var isServing = false
    private var socketPaths: [SocketPath] = []
    /// The TCP addresses of the configuration.
    private let addresses: [SocketAddress]
    /// The sockets of an earlier process, from the descriptor store.
    private var kept: [ListeningSocket] = []
    private var open: Set<SocketAddress> = []
    /// The addresses that the daemon is to open, and could not.
    private var missing: [SocketAddress] = []
    /// The last failure for each missing address: it is logged once.
    private var failures: [SocketAddress: String] = [:]
    /// Opens the missing ones.
    private var retry: Timer?
    private var delay = Listeners.shortestDelay
    private var hasAsked = true

    /// FDNAME= of the TCP and AF_VSOCK sockets that the daemon opens itself and stores for the next process.
    private static let keptName = "kept"
    /// FDNAME= of the Unix socket that the daemon opened because the path of systemd's was removed.
    private static let restoredName = "restored"
    /// FileDescriptorName= of the Unix socket.
    private static let apiName = "api"
    /// FileDescriptorName= of the Unix socket that every account may use.
    private static let accountsName = "user"
    /// FDNAME= of that socket, as ``restoredName``.
    private static let restoredAccountsName = "restored-user"

    /// The delay before an address that could not be opened is tried again; it doubles with each failure.
    static let shortestDelay = Duration.seconds(1)
    static let longestDelay = Duration.seconds(60)

    /// Takes the sockets that systemd passed, and opens those of the configuration: the Unix socket when none was
    /// passed, and `addresses`. Throws when there is none at all.
    init(
        _ server: Server,
        socket: SocketAddress,
        addresses: [SocketAddress],
        _ log: Log,
        holder: @escaping @EventLoopActor (SocketAddress) -> String?,
        failedAddresses: @escaping @EventLoopActor () async -> [String]?
    ) throws(SystemError) {
        self.server = server
        self.log = log
        self.addresses = addresses
        self.holder = holder
        self.failedAddresses = failedAddresses
        retry = try Timer { [weak self] in self?.tryAgain() }
        for passed in try ListeningSocket.passed() {
            if passed.kind == .other {
                log.write(.warning, "the socket '\(passed.name)' is no listening stream socket; ignored")
                continue
            }
            waiting.append(passed)
            if passed.name == Self.keptName { kept.append(passed) }
            if let address = passed.address { open.insert(address) }
        }
        missing = addresses.filter { !open.contains($0) }
        if !waiting.contains(where: { $0.kind == .unix && !Self.isForAccounts($0) }) { missing.append(socket) }
        openMissing()
        guard waiting.isEmpty else { return }
        throw .noListener
    }

    /// Begins to accept connections.
    func serve() {
        isServing = true
        for socket in waiting { serve(socket) }
        waiting = []
    }

    private func serve(_ socket: ListeningSocket) {
        do throws(SystemError) {
            try server.listen(on: socket, isForAccounts: Self.isForAccounts(socket))
        } catch {
            log.write(.error, "cannot serve '\(socket.name)': \(error)")
        }
        guard socket.kind == .unix, let path = socket.path else { return }
        if socket.name == Self.accountsName {
            keepSocket(at: path, mode: Self.accountsMode, as: Self.restoredAccountsName)
        } else if socket.name == Self.apiName || socket.name == path {
            keepSocket(at: path, mode: Self.apiMode, as: Self.restoredName)
        }
    }

    static func isForAccounts(_ socket: ListeningSocket) -> Bool {
        socket.name == accountsName || socket.name == restoredAccountsName
    }

    /// The modes of the Unix sockets.
    private static let apiMode: UInt32 = 0o660
    private static let accountsMode: UInt32 = 0o666

    /// Stops opening sockets, when the daemon stops.
    func stop() {
        socketPaths = []
        missing = []
        hasAsked = true
        retry?.cancel()
    }

    // MARK: Sockets that systemd has not passed

    /// Opens the addresses of socket units that have failed: systemd opens none while the daemon is active.
    func replaceFailed() {
        hasAsked = false
        EventLoop.start { [weak self] in await self?.askSystemd() }
    }

    private func askSystemd() async {
        guard let failed = await failedAddresses() else { return armRetry() }
        guard !hasAsked else { return }
        hasAsked = true
        let wanted = addresses + failed.compactMap { SocketAddress(listenStream: $0) }
        release { socket in !wanted.contains { $0 == socket.address } }
        missing += wanted.filter { !open.contains($0) && !missing.contains($0) }
        openMissing()
    }

    /// Closes sockets of an earlier process that are not wanted any more.
    private func release(where isUnwanted: (ListeningSocket) -> Bool) {
        let unwanted = kept.filter(isUnwanted)
        guard !unwanted.isEmpty else { return }
        server.stopListening { socket in unwanted.contains { $0 === socket } }
        kept.removeAll(where: isUnwanted)
        for socket in unwanted {
            log.write(.notice, "no longer listening on \(socket.address?.description ?? socket.name)")
            if let address = socket.address { open.remove(address) }
        }
        Notifier.release(Self.keptName)
        for socket in kept { Notifier.keep(socket, as: Self.keptName) }
    }

    private func tryAgain() {
        if !hasAsked { replaceFailed() }
        openMissing()
    }

    private func openMissing() {
        missing.removeAll { isDone($0) }
        if !missing.isEmpty { armRetry() } else if hasAsked { delay = Self.shortestDelay }
    }

    private func armRetry() {
        retry?.arm(after: delay)
        delay = min(delay * 2, Self.longestDelay)
    }

    /// Opens an address. True when it is open, or can never be.
    private func isDone(_ address: SocketAddress) -> Bool {
        do throws(SystemError) {
            let socket = try ListeningSocket.open(address)
            if socket.kind != .unix {
                Notifier.keep(socket, as: Self.keptName)
                kept.append(socket)
            }
            open.insert(address)
            if failures.removeValue(forKey: address) != nil { log.write(.notice, "listening on \(address)") }
            if isServing { serve(socket) } else { waiting.append(socket) }
            return true
        } catch let error where error.isFamilyUnsupported {
            // A machine without IPv6 has no [::1], and one without a host no AF_VSOCK.
            log.write(.info, "cannot listen on \(address): \(error.reason)")
            return true
        } catch {
            let owner = error.isAddressTaken ? holder(address) : nil
            let failure = error.reason + (owner.map { "; it is held by \($0)" } ?? "")
            if failures.updateValue(failure, forKey: address) != failure {
                log.write(.error, "cannot listen on \(address): \(failure); trying again")
            }
            return false
        }
    }

    // MARK: Unix sockets

    /// Restores a Unix socket when its path is removed.
    private func keepSocket(at path: String, mode: UInt32, as name: String) {
        do throws(SystemError) {
            let kept = try SocketPath(
                path,
                mode: mode,
                opened: { [weak self] in self?.serve(restored: $0, as: name) },
                failed: { [log] in log.write(.error, "the Unix socket '\(path)' is gone and cannot be opened: \($0)") }
            )
            socketPaths.append(kept)
        } catch {
            log.write(.error, "cannot watch over the Unix socket '\(path)': \(error)")
        }
    }

    private func serve(restored socket: ListeningSocket, as name: String) {
        log.write(.warning, "the Unix socket '\(socket.name)' was removed, and is open again")
        // One restored socket in the descriptor store: the previous one is not reachable any more.
        Notifier.release(name)
        Notifier.keep(socket, as: name)
        do throws(SystemError) {
            try server.listen(on: socket, isForAccounts: name == Self.restoredAccountsName)
        } catch {
            log.write(.error, "cannot serve '\(socket.name)': \(error)")
        }
    }
}
