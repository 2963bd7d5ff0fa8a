internal import API
internal import HTTP
internal import HTTPServer
internal import Systemd

/// Passes requests to the API, logs and counts them.
@EventLoopActor
final class RequestDispatch {
    private var api: API
    private let log: Log
    private let refusals: RefusalLog
    private let metrics: AgentMetrics
    private let backoff = AuthenticationBackoff()
    /// The group whose members may use the Unix socket; nil if it does not exist.
    private let groupID: UInt32?

    init(_ api: API, _ log: Log, _ metrics: AgentMetrics, groupID: UInt32?) throws(SystemError) {
        self.api = api
        self.log = log
        refusals = try RefusalLog(log)
        self.metrics = metrics
        self.groupID = groupID
    }

    /// The identities of clients.
    var identities: Identities {
        get { api.configuration.identities }
        set { api = api.replacingIdentities(by: newValue) }
    }

    var handler: RequestHandler {
        RequestHandler(
            admit: { [self] head, client in
                let caller = caller(client.peer)
                switch api.admit(head, from: caller) {
                case .later(let admitted):
                    client.identity = admitted.identity
                    return .later(admitted)
                case .reply(let reply):
                    client.identity = reply.identity
                    note(reply, head, caller, .zero)
                    return .response(reply.response)
                }
            },
            begin: { [self] request, client in
                let begin = MonotonicClock.now()
                let caller = caller(client.peer)
                switch api.begin(request, from: caller) {
                case .later(let admitted):
                    client.identity = admitted.identity
                    return .later(admitted)
                case .reply(let reply):
                    client.identity = reply.identity
                    note(reply, request.head, caller, MonotonicClock.now().duration(since: begin))
                    return .response(reply.response)
                }
            },
            delay: { [self] in delay($0) },
            respond: { [self] request, object in
                let begin = MonotonicClock.now()
                guard let admitted = object as? AdmittedRequest else {
                    preconditionFailure("admit and begin return no other object")
                }
                let reply = await api.respond(to: request, admitted)
                note(reply, request.head, admitted.caller, MonotonicClock.now().duration(since: begin))
                return (reply.response, reply.stream)
            },
            respondToFailure: { [self] failure, client in
                let reply = api.reply(to: failure)
                note(reply, nil, caller(client.peer), .zero)
                return reply.response
            }
        )
    }

    private func note(_ reply: API.Reply, _ head: RequestHead?, _ caller: Caller, _ duration: Duration) {
        if reply.isRefusal {
            refusals.write(reply, head, caller)
        } else {
            log.write(reply, head, caller, duration)
        }
        metrics.count(reply, head, duration)
    }

    /// The delay of a response: only answers to wrong tokens are delayed.
    private func delay(_ response: Response) -> Duration {
        response.status == .unauthorized ? backoff.delay() : .zero
    }

    private func caller(_ peer: Peer) -> Caller {
        switch peer {
        case .unix(let credentials):
            .unix(
                uid: credentials.uid,
                gid: credentials.gid,
                pid: credentials.pid,
                isAdmitted: credentials.isRoot(orIn: groupID)
            )
        case .tcp(let address): .tcp(address: address ?? "unknown")
        case .vsock(let machine): .vsock(contextID: machine?.number, isHost: machine == .host)
        }
    }
}
