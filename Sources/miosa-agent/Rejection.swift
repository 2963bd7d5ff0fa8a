internal import API
internal import HTTP
internal import HTTPServer
internal import Systemd

/// Answers to clients of an agent that cannot run.
///
/// systemd keeps the sockets open and starts the agent again for each connection. A connection left in the backlog
/// would start it in a loop. So each start answers the waiting clients with the reason, and ends.
@EventLoopActor
enum Rejection {
    /// EX_CONFIG of sysexits.h: the unit sets RestartPreventExitStatus= to it, because a restart does not help.
    static let configurationExitStatus: Int32 = 78

    /// The time-out of a waiting client, for its request and for the answer.
    private static let patience = Duration.seconds(1)

    /// Answers the clients of the sockets that systemd passed; without passed sockets does nothing.
    static func answerClients(_ reasons: [String]) {
        do throws(SystemError) {
            let sockets = try ListeningSocket.passed().filter { $0.kind != .other }
            guard !sockets.isEmpty else { return }
            let requestIDs = try IdentifierSequence()
            func response(_ head: RequestHead?, _ client: Client) -> Response {
                API.cannotRun(
                    client.peer.mayKnow ? reasons : nil,
                    requestID: requestIDs.next().description,
                    to: head
                )
            }
            let handler = RequestHandler(
                admit: { .response(response($0, $1)) },
                begin: { .response(response($0.head, $1)) },
                respond: { _, _ in preconditionFailure("every request is answered by its first step") },
                respondToFailure: { response(nil, $1) }
            )
            var limits = ServerLimits()
            limits.drainTimeout = patience
            limits.firstRequestDrainTimeout = patience
            let server = try Server(handler, limits: limits)
            for socket in sockets { try server.listen(on: socket, isForAccounts: Listeners.isForAccounts(socket)) }
            EventLoop.begin {
                // By then all waiting connections have been accepted. Later ones start the agent again.
                await LoopTurn.wait()
                server.drain { EventLoop.shared.exit(code: 0) }
            }
            _ = try EventLoop.shared.run()
        } catch {
            // The clients are answered by the next start, or time out.
        }
    }
}

extension Peer {
    /// Whether the peer may see the settings: it was admitted by the mode of the Unix socket, or is the host.
    fileprivate var mayKnow: Bool {
        switch self {
        case .unix: true
        case .vsock(let machine): machine == .host
        case .tcp, .account: false
        }
    }
}
