internal import API
internal import HTTP
internal import HTTPServer
internal import Systemd

/// The end of an agent that cannot run.
///
/// systemd starts it again for the next client that connects to one of its sockets, which stay open, and a client that
/// is left in their queue would have it started over and over. So each start answers those who wait, with the reason,
/// and takes no longer than that.
@EventLoopActor
enum Rejection {
    /// EX_CONFIG of sysexits.h: the unit has RestartPreventExitStatus= for it, because nothing gets better by another
    /// start.
    static let configurationExitStatus: Int32 = 78

    /// The longest that a client which has connected may take for its request, and for the answer.
    private static let patience = Duration.seconds(1)

    /// Answers the clients of the sockets that systemd passed. Without such sockets there are none.
    static func answerClients(_ reasons: [String]) {
        do throws(SystemError) {
            let sockets = try ListeningSocket.passed().filter { $0.kind != .other }
            guard !sockets.isEmpty else { return }
            let requestIDs = try IdentifierSequence()
            func response(_ head: RequestHead?, _ peer: Peer) -> Response {
                API.cannotRun(
                    peer.mayKnow ? reasons : nil,
                    requestID: requestIDs.next().description,
                    to: head
                )
            }
            let handler = RequestHandler(
                refuse: { response($0, $1) },
                respondAtOnce: { response($0.head, $1) },
                respond: { (response($0.head, $1), nil) },
                respondToFailure: { response(nil, $1) }
            )
            var limits = ServerLimits()
            limits.drainTimeout = patience
            limits.firstRequestDrainTimeout = patience
            let server = try Server(handler, limits: limits)
            for socket in sockets { try server.listen(on: socket) }
            EventLoop.begin {
                // By then those who wait have been accepted. Others have the agent started once more.
                await LoopTurn.wait()
                server.drain { EventLoop.shared.exit(code: 0) }
            }
            _ = try EventLoop.shared.run()
        } catch {
            // They are answered by the next start, or go away.
        }
    }
}

extension Peer {
    /// Whether the peer may know the settings: it has been let in by the mode of the Unix socket, or owns the machine.
    fileprivate var mayKnow: Bool {
        switch self {
        case .unix: true
        case .vsock(let machine): machine == .host
        case .tcp: false
        }
    }
}
