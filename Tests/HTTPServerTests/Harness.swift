import HTTP
import HTTPServer
import Systemd
import TestSupport

/// A server with a scripted application.
@EventLoopActor
final class Harness {
    let server: Server
    /// What the application was asked, in order.
    let asked = Arrivals<String>()
    private let gates: Gates
    /// A server lives as long as the process, here as in the daemon: a stream may go on after the test that began it.
    private static var servers: [Server] = []

    /// Requests that wait for the test to let them go.
    @EventLoopActor
    private final class Gates {
        var waiting: [String: CheckedContinuation<Void, Never>] = [:]
    }

    init(
        limits: ServerLimits = limits { _ in },
        refuse: @escaping @EventLoopActor (RequestHead, Peer) -> Response? = { _, _ in nil },
        hold: @escaping @EventLoopActor (RequestHead) -> Duration = { _ in .zero },
        respond: (@EventLoopActor (Request, Peer) async -> Response)? = nil,
        stream: @escaping @EventLoopActor (Request) -> BodyStream? = { _ in nil }
    ) throws {
        let gates = Gates()
        self.gates = gates
        let handler = RequestHandler(
            admit: { head, client in
                refuse(head, client.peer).map { .response($0) } ?? .later(Admitted(client.peer))
            },
            begin: { request, client in
                let admitted = Admitted(client.peer)
                if request.head.target.path == "/identified" { client.identity = admitted }
                return .later(admitted)
            },
            hold: { head, _ in hold(head) },
            respond: { [asked] request, object in
                guard let peer = (object as? Admitted)?.peer else { preconditionFailure("no other object is made") }
                asked.add("\(request.head.method) \(request.head.target.path)")
                if let respond { return (await respond(request, peer), nil) }
                if request.head.target.path.hasPrefix("/slow") {
                    await withCheckedContinuation { gates.waiting[request.head.target.path] = $0 }
                }
                if let stream = stream(request) {
                    return (Response(status: .ok, fields: ["Content-Type": "text/plain"]), stream)
                }
                let body = String(decoding: request.body, as: UTF8.self)
                let text = "\(request.head.method) \(request.head.target.path) \(body)"
                return (Response(status: .ok, text: text), nil)
            },
            respondToFailure: { failure, _ in Response(status: failure.status, text: failure.reason) }
        )
        server = try Server(handler, limits: limits)
        Self.servers.append(server)
    }

    private final class Admitted: Sendable {
        let peer: Peer

        init(_ peer: Peer) { self.peer = peer }
    }

    /// Lets a request go that waits.
    func release(_ path: String) { gates.waiting.removeValue(forKey: path)?.resume() }

    /// A peer that somebody trusted could be.
    nonisolated static let trusted = Peer.unix(PeerCredentials(pid: 1, uid: 0, gid: 0, groups: []))

    func connect(_ peer: Peer = .tcp(nil), reads: Bool = true, chunkBytes: Int = 64 * 1024) throws -> Client {
        var client: Client?
        try FileDescriptor.streamPair { near, far throws(SystemError) in
            try server.serve(near, peer)
            do {
                client = try Client(far, reads: reads, chunkBytes: chunkBytes)
            } catch {
                client = nil
            }
        }
        return client!
    }
}

/// Limits of which some are short; nothing but those can end a connection within a test, however long that takes.
func limits(_ change: (inout ServerLimits) -> Void) -> ServerLimits {
    var limits = ServerLimits()
    limits.headerTimeout = .seconds(600)
    limits.bodyTimeout = .seconds(600)
    limits.idleTimeout = .seconds(600)
    limits.writeTimeout = .seconds(600)
    limits.lingerTimeout = .seconds(600)
    limits.drainTimeout = .seconds(600)
    limits.firstRequestDrainTimeout = .seconds(600)
    change(&limits)
    return limits
}
