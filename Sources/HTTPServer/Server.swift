internal import HTTP
public import Systemd

/// Accepts connections on any number of listening sockets and has their requests answered.
@EventLoopActor
public final class Server {
    let handler: RequestHandler
    let limits: ServerLimits
    private var listeners: [Listener] = []
    /// The epoll group of the connections.
    let group: IOGroup
    private let trusted: ConnectionBudget
    private let identified: ConnectionBudget
    private let strangers: ConnectionBudget
    private let accounts: ConnectionBudget
    /// The bytes that ``ServerLimits/waitingBytesLimit`` and ``ServerLimits/accountWaitingBytesLimit`` limit.
    private var waitingBytes = 0
    private var accountWaitingBytes = 0
    /// A logical clock: orders connections by the time at which they began to wait.
    private var moments = 0
    /// Connections with more requests than the answered one. Each is served after everything else that is ready:
    /// pipelining gives no priority.
    private var turns: [Connection] = []
    private var nextTurn: Deferral?
    private var resume: Timer?
    private var draining: (drained: @EventLoopActor () -> Void, deadline: Timer?)?
    /// The receive buffer, shared by all connections.
    var receiveBuffer = [UInt8](repeating: 0, count: 16 * 1024)
    private var date: (second: Int, text: String) = (-1, "")

    private struct Listener {
        let socket: ListeningSocket
        let watch: IOWatch
    }

    public init(_ handler: RequestHandler, limits: ServerLimits = ServerLimits()) throws(SystemError) {
        self.handler = handler
        self.limits = limits
        group = try IOGroup(eventsAtATime: Self.connectionsAtATime)
        trusted = ConnectionBudget(limits.trusted)
        identified = ConnectionBudget(limits.identified)
        strangers = ConnectionBudget(limits.strangers)
        accounts = ConnectionBudget(limits.accounts)
        // `unowned`: neither calls after the server is deallocated, and weak references would slow down all others.
        resume = try Timer { [unowned self] in resumeAccepting() }
        nextTurn = try Deferral(patience: Self.turnPatience) { [unowned self] in giveTurn() }
    }

    /// The number of connections that are accepted before open ones are served.
    private static let acceptedAtATime = 16
    /// The number of connections that are served before signals of systemd and new connections are handled.
    private static let connectionsAtATime = 16
    /// The longest time that a busy server lets a connection wait for its next turn.
    private static let turnPatience = Duration.milliseconds(5)

    /// The number of open connections.
    public var connectionCount: Int { budgets.reduce(0) { $0 + $1.connectionCount } }

    private var budgets: [ConnectionBudget] { [trusted, identified, strangers, accounts] }

    private var connections: [Connection] { budgets.flatMap(\.connections) }

    /// Accepts and serves connections of a socket; with `isForAccounts`, of a Unix socket that every account may use.
    /// Throws when the socket cannot be watched.
    public func listen(on socket: ListeningSocket, isForAccounts: Bool = false) throws(SystemError) {
        let watch = try socket.watch { [unowned self] _ in accept(from: socket, isForAccounts) }
        listeners.append(Listener(socket: socket, watch: watch))
    }

    /// Stops accepting on the sockets that `isMeant` selects; existing connections stay open.
    public func stopListening(where isMeant: (ListeningSocket) -> Bool) {
        listeners.removeAll { isMeant($0.socket) }
    }

    /// Closes the connections of the clients that `isMeant` selects, whatever they are doing. A request that is being
    /// answered is carried out, without an answer.
    public func close(where isMeant: (Client) -> Bool) {
        for connection in connections where isMeant(connection.client) { connection.close() }
    }

    /// Serves one connection and takes ownership of it. Throws when it cannot be watched.
    public func serve(_ descriptor: consuming FileDescriptor, _ peer: Peer) throws(SystemError) {
        _ = try open(descriptor, peer)
    }

    private func open(_ descriptor: consuming FileDescriptor, _ peer: Peer) throws(SystemError) -> Connection {
        let share = budget(of: peer)
        let connection = try Connection(descriptor, peer: peer, server: self, share: share)
        let isFull: Bool
        if let uid = peer.accountID {
            share.makePlace(forAccount: uid, limit: limits.accountConnectionsLimit)
            isFull = share.isFull(forAccount: uid, limit: limits.accountConnectionsLimit)
        } else {
            if share.isFull { share.longestWaiting { !$0.isTurnedAway }?.giveWay() }
            isFull = share.isFull
        }
        if isFull {
            connection.refuseForLackOfRoom(lingers: share.turnAway(connection))
        } else {
            share.admit(connection)
        }
        return connection
    }

    private func budget(of peer: Peer) -> ConnectionBudget {
        switch peer {
        // Admitted by the mode of the Unix socket, or the host. Any process can be another peer.
        case .unix, .vsock(.host): trusted
        case .account: accounts
        case .tcp, .vsock: strangers
        }
    }

    /// Moves the connection of an identified TCP client from the budget `strangers` to `identified`. When that is full,
    /// its longest-waiting connection is closed; when none of them is waiting, the connection is not moved.
    func promote(_ connection: Connection) {
        guard connection.share === strangers else { return }
        if identified.isFull { identified.longestWaiting { _ in true }?.giveWay() }
        guard !identified.isFull else { return }
        strangers.move(connection, to: identified)
        connection.share = identified
    }

    /// Stops accepting, closes idle connections, completes the requests that have arrived or are on their way, and
    /// calls `drained` when all are done or after ``ServerLimits/drainTimeout``.
    public func drain(_ drained: @escaping @EventLoopActor () -> Void) {
        guard draining == nil else { return }
        listeners = []
        let deadline = try? Timer { [weak self] in self?.endDraining() }
        draining = (drained, deadline)
        deadline?.arm(after: limits.drainTimeout)
        for connection in connections { connection.drain() }
        if connectionCount == 0 { endDraining() }
    }

    var isDraining: Bool { draining != nil }

    /// The Date field of a response that is sent now (RFC 9110 §6.6.1).
    var dateField: String {
        let second = Int(WallClock.now().microseconds / 1_000_000)
        if second != date.second { date = (second, HTTPDate.format(secondsSinceEpoch: second)) }
        return date.text
    }

    func removed(_ connection: Connection) {
        turns.removeAll { $0 === connection }
        resumeAccepting()
        if connectionCount == 0, isDraining { endDraining() }
    }

    /// The next value of the logical clock.
    func moment() -> Int {
        moments += 1
        return moments
    }

    // MARK: Turns

    func awaitTurn(_ connection: Connection) {
        turns.append(connection)
        nextTurn?.request()
    }

    private func giveTurn() {
        guard !turns.isEmpty else { return }
        let connection = turns.removeFirst()
        if !turns.isEmpty { nextTurn?.request() }
        connection.takeTurn()
    }

    // MARK: Responses that wait

    /// Adds to the number of bytes that wait for peers; `bytes` may be negative. Above the limit, the connections that
    /// have been waiting for longest are closed.
    func countWaiting(_ bytes: Int, of connection: Connection) {
        guard connection.accountID == nil else { return countWaiting(bytes, ofAccount: connection) }
        waitingBytes += bytes
        guard bytes > 0, waitingBytes > limits.waitingBytesLimit else { return }
        let slow = connections.filter { $0 !== connection && $0.outputBytes > 0 && $0.accountID == nil }
        for other in slow.sorted(by: { $0.waitingSince < $1.waitingSince }) {
            guard waitingBytes > limits.waitingBytesLimit else { return }
            other.giveWay()
        }
    }

    /// The same for accounts: the connections of the account with the most bytes are closed.
    private func countWaiting(_ bytes: Int, ofAccount connection: Connection) {
        accountWaitingBytes += bytes
        guard bytes > 0 else { return }
        while accountWaitingBytes > limits.accountWaitingBytesLimit {
            let heaviest = accounts.heaviestAccount { $0.outputBytes }
            let slow = accounts.connections.filter {
                $0 !== connection && $0.outputBytes > 0 && $0.accountID == heaviest
            }
            guard let slowest = slow.min(by: { $0.waitingSince < $1.waitingSince }) else { return }
            slowest.giveWay()
        }
    }

    // MARK: Accepting

    private func accept(from socket: ListeningSocket, _ isForAccounts: Bool) {
        // The event reports at least one connection in the backlog: only that one may evict another connection.
        guard socket.leavesDescriptors(limits.spareDescriptors) else { return relieve(socket, isForAccounts) }
        guard acceptOne(from: socket, isForAccounts) else { return }
        // Open connections are served after each batch.
        for _ in 1..<Self.acceptedAtATime {
            guard socket.leavesDescriptors(limits.spareDescriptors), acceptOne(from: socket, isForAccounts) else {
                return
            }
        }
    }

    /// Accepts a connection; false when there is none.
    private func acceptOne(from socket: ListeningSocket, _ isForAccounts: Bool) -> Bool {
        do throws(SystemError) {
            guard let descriptor = try socket.accept() else { return false }
            let peer: Peer =
                switch socket.kind {
                case .unix where isForAccounts: .account(try descriptor.peerCredentials())
                case .unix: .unix(try descriptor.peerCredentials())
                case .vsock: .vsock(descriptor.peerContextID())
                case .tcp, .other: .tcp(descriptor.peerAddress()?.description)
                }
            // Its request is read before another connection can evict it.
            try open(descriptor, peer).receive()
            return true
        } catch {
            // Too few descriptors, or too little memory.
            relieve(socket, isForAccounts)
            return false
        }
    }

    /// Closes the connection that has been waiting for its peer for longest, to free a descriptor for the next one. If
    /// there is none, new connections wait in the kernel's backlog. TCP clients evict TCP
    /// clients, also identified ones, and no trusted peers; accounts evict accounts.
    private func relieve(_ socket: ListeningSocket, _ isForAccounts: Bool) {
        let shares =
            isForAccounts
            ? [accounts] : [strangers, accounts, identified] + (socket.kind == .unix ? [trusted] : [])
        for share in shares {
            if let other = share.longestWaiting(where: { _ in true }) { return other.giveWay() }
        }
        for listener in listeners where listener.socket === socket { listener.watch.events = [] }
        resume?.arm(after: .seconds(1))
    }

    private func resumeAccepting() {
        for listener in listeners { listener.watch.events = .readable }
    }

    private func endDraining() {
        guard let (drained, deadline) = draining else { return }
        deadline?.cancel()
        draining = ({}, nil)
        drained()
    }
}
