internal import HTTP
public import Systemd

/// Accepts connections on any number of listening sockets and has their requests answered.
@EventLoopActor
public final class Server {
    let handler: RequestHandler
    let limits: ServerLimits
    private var listeners: [Listener] = []
    /// What waits for the connections.
    let group: IOGroup
    private let trusted: ConnectionBudget
    private let strangers: ConnectionBudget
    /// What ``ServerLimits/waitingBytesLimit`` limits.
    private var waitingBytes = 0
    /// Counts the moments at which somebody began to wait.
    private var moments = 0
    /// Connections that have received more requests than the one that was answered. One has its turn after everything
    /// else that is ready: many requests in one piece are no way to the front.
    private var turns: [Connection] = []
    private var nextTurn: Deferral?
    private var resume: Timer?
    private var draining: (drained: @EventLoopActor () -> Void, deadline: Timer?)?
    /// What connections receive into, one after another.
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
        strangers = ConnectionBudget(limits.strangers)
        // Neither calls when the server has gone. Weak references would make every other one slower.
        resume = try Timer { [unowned self] in resumeAccepting() }
        nextTurn = try Deferral(patience: Self.turnPatience) { [unowned self] in giveTurn() }
    }

    /// So many connections are served before systemd's word and new connections get their turn.
    private static let connectionsAtATime = 16
    /// How long a server that has other things to do all the time lets a connection wait for its next turn.
    private static let turnPatience = Duration.milliseconds(5)

    /// How many connections are open.
    public var connectionCount: Int { trusted.connections.count + strangers.connections.count }

    private var connections: [Connection] {
        Array(trusted.connections.values) + Array(strangers.connections.values)
    }

    /// Serves what connects to a socket.
    public func listen(on socket: ListeningSocket) throws(SystemError) {
        let watch = try socket.watch { [unowned self] _ in accept(from: socket) }
        listeners.append(Listener(socket: socket, watch: watch))
    }

    /// Stops serving the sockets that `isMeant` picks; the connections that were made stay.
    public func stopListening(where isMeant: (ListeningSocket) -> Bool) {
        listeners.removeAll { isMeant($0.socket) }
    }

    /// Serves one connection, which it takes over.
    public func serve(_ descriptor: consuming FileDescriptor, _ peer: Peer) throws(SystemError) {
        _ = try open(descriptor, peer)
    }

    private func open(_ descriptor: consuming FileDescriptor, _ peer: Peer) throws(SystemError) -> Connection {
        let share = peer.isTrusted ? trusted : strangers
        let connection = try Connection(descriptor, peer: peer, server: self, share: share)
        if share.isFull { share.longestWaiting { !$0.isTurnedAway }?.giveWay() }
        if share.isFull {
            connection.refuseForLackOfRoom(lingers: share.turnAway(connection))
        } else {
            share.admit(connection)
        }
        return connection
    }

    /// Accepts nothing any more, ends idle connections, lets requests that have arrived or are about to finish, and
    /// calls `drained` when the last is done or ``ServerLimits/drainTimeout`` is over.
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

    /// The Date field for a response that is made now (RFC 9110 §6.6.1).
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

    /// The present, for telling who has been waiting longer.
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

    /// So many more bytes, or fewer, wait for a peer to take them.
    func countWaiting(_ bytes: Int, of connection: Connection) {
        waitingBytes += bytes
        guard bytes > 0, waitingBytes > limits.waitingBytesLimit else { return }
        let slow = connections.filter { $0 !== connection && $0.outputBytes > 0 }
        for other in slow.sorted(by: { $0.waitingSince < $1.waitingSince }) {
            guard waitingBytes > limits.waitingBytesLimit else { return }
            other.giveWay()
        }
    }

    // MARK: Accepting

    private func accept(from socket: ListeningSocket) {
        guard socket.leavesDescriptors(limits.spareDescriptors) else { return relieve(socket) }
        do throws(SystemError) {
            // One at a time: the loop comes back while more wait, and open connections get their turn between.
            guard let descriptor = try socket.accept() else { return }
            let peer: Peer =
                switch socket.kind {
                case .unix: .unix(try descriptor.peerCredentials())
                case .vsock: .vsock(descriptor.peerContextID())
                case .tcp, .other: .tcp(descriptor.peerAddress()?.description)
                }
            // What the client has sent is read before another one can take its place.
            try open(descriptor, peer).receive()
        } catch {
            // The kernel is short of descriptors or memory.
            relieve(socket)
        }
    }

    /// Ends a connection that waits for its peer, so that there is a descriptor for the next one. Where there is none,
    /// it waits in the kernel until one ends. A stranger is not let in at the cost of somebody trusted.
    private func relieve(_ socket: ListeningSocket) {
        for share in socket.kind == .unix ? [strangers, trusted] : [strangers] {
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
