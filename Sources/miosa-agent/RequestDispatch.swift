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
    private let guesses = Guesses()
    private let accounts: Accounts
    /// The group whose members may use the Unix socket; nil if it does not exist.
    private let groupID: UInt32?

    init(_ api: API, _ log: Log, _ metrics: AgentMetrics, _ accounts: Accounts, groupID: UInt32?) throws(SystemError) {
        self.api = api
        self.log = log
        refusals = try RefusalLog(log)
        self.metrics = metrics
        self.accounts = accounts
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
                    note(reply, head, client, caller, .zero)
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
                    note(reply, request.head, client, caller, MonotonicClock.now().duration(since: begin))
                    return .response(reply.response)
                }
            },
            hold: { [self] head, client in
                guard !guesses.isEmpty, guesses.areUnderWay(), isGuess(head, client) else { return .zero }
                return guesses.wait(of: client.source)
            },
            respond: { [self] request, object in
                let begin = MonotonicClock.now()
                guard let admitted = object as? AdmittedRequest else {
                    preconditionFailure("admit and begin return no other object")
                }
                let reply = await api.respond(to: request, admitted)
                note(reply, request.head, nil, admitted.caller, MonotonicClock.now().duration(since: begin))
                return (reply.response, reply.stream)
            },
            respondToFailure: { [self] failure, client in
                let reply = api.reply(to: failure)
                note(reply, nil, nil, caller(client.peer), .zero)
                return reply.response
            }
        )
    }

    /// Logs and counts an answer. `client` is nil for an answer to an admitted request, and to bytes that are none.
    private func note(
        _ reply: API.Reply,
        _ head: RequestHead?,
        _ client: Client?,
        _ caller: Caller,
        _ duration: Duration
    ) {
        if reply.response.status == .unauthorized, let head, let client, isGuess(head, client) {
            guesses.note(client.source)
        }
        if reply.isRefusal || reply.isError(to: caller) {
            refusals.write(reply, head, caller)
        } else {
            log.write(reply, head, caller, duration)
        }
        metrics.count(reply, head, duration)
    }

    /// Whether a request has a token that can be a guess: the host and clients of the Unix socket are known without.
    private func isGuess(_ head: RequestHead, _ client: Client) -> Bool {
        guard case .tcp = client.peer else { return false }
        return head.fields.contains("Authorization")
    }

    private func caller(_ peer: Peer) -> Caller {
        switch peer {
        case .account(let credentials) where credentials.uid != 0:
            .account(uid: credentials.uid, pid: credentials.pid, accounts.account(of: credentials.uid))
        case .unix(let credentials), .account(let credentials):
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

extension API.Reply {
    /// Whether it is an error of an account's request: an account decides how many there are.
    fileprivate func isError(to caller: Caller) -> Bool {
        guard case .account = caller else { return false }
        return response.status.code >= 400
    }
}
