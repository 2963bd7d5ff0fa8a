internal import HTTP
public import Systemd

/// Accepts connections on any number of listening sockets and has their requests answered.
@EventLoopActor
public final class Server {
    let handler: RequestHandler
    let limits: ServerLimits
    private var listeners: [Listener] = []
    private var connections: [ObjectIdentifier: Connection] = [:]
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
        resume = try Timer { [weak self] in self?.resumeAccepting() }
    }

    /// How many connections are open.
    public var connectionCount: Int { connections.count }

    /// Serves what connects to a socket.
    public func listen(on socket: ListeningSocket) throws(SystemError) {
        let watch = try socket.watch { [weak self] _ in self?.accept(from: socket) }
        listeners.append(Listener(socket: socket, watch: watch))
    }

    /// Stops serving the sockets that `isMeant` picks; the connections that were made stay.
    public func stopListening(where isMeant: (ListeningSocket) -> Bool) {
        listeners.removeAll { isMeant($0.socket) }
    }

    /// Serves one connection, which it takes over.
    public func serve(_ descriptor: consuming FileDescriptor, _ peer: Peer) throws(SystemError) {
        let connection = try Connection(descriptor, peer: peer, server: self)
        connections[ObjectIdentifier(connection)] = connection
        guard connections.count > limits.connectionsLimit else { return }
        // As many again may take their time to go.
        connection.refuseForLackOfRoom(lingers: connections.count <= 2 * limits.connectionsLimit)
    }

    /// Accepts nothing any more, ends idle connections, lets requests that have arrived or are about to finish, and
    /// calls `drained` when the last is done or ``ServerLimits/drainTimeout`` is over.
    public func drain(_ drained: @escaping @EventLoopActor () -> Void) {
        guard draining == nil else { return }
        listeners = []
        let deadline = try? Timer { [weak self] in self?.endDraining() }
        draining = (drained, deadline)
        deadline?.arm(after: limits.drainTimeout)
        for connection in Array(connections.values) { connection.drain() }
        if connections.isEmpty { endDraining() }
    }

    var isDraining: Bool { draining != nil }

    /// The Date field for a response that is made now (RFC 9110 §6.6.1).
    var dateField: String {
        let second = Int(WallClock.now().microseconds / 1_000_000)
        if second != date.second { date = (second, HTTPDate.format(secondsSinceEpoch: second)) }
        return date.text
    }

    func remove(_ connection: Connection) {
        connections[ObjectIdentifier(connection)] = nil
        resumeAccepting()
        if connections.isEmpty, isDraining { endDraining() }
    }

    private func accept(from socket: ListeningSocket) {
        do throws(SystemError) {
            // One at a time: the loop comes back while more wait, and open connections get their turn between.
            guard let descriptor = try socket.accept() else { return }
            let peer: Peer =
                switch socket.kind {
                case .unix: .unix(try descriptor.peerCredentials())
                case .vsock: .vsock(descriptor.peerContextID())
                case .tcp, .other: .tcp(descriptor.peerAddress())
                }
            try serve(descriptor, peer)
        } catch {
            // No descriptor or memory is left. The connection waits in the kernel until one of ours ends.
            for listener in listeners { listener.watch.events = [] }
            resume?.arm(after: .seconds(1))
        }
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
