public import HTTP
public import Services

/// The HTTP API of a computer's services: from a request to a response.
public final class API: Sendable {
    /// The settings of the API.
    public struct Configuration: Sendable {
        public var computer: ComputerIdentity
        /// The identities of clients that send a token. Without any no TCP client is admitted.
        public var identities: Identities
        /// The names by which clients may call the computer.
        public var hosts: Hosts
        /// The defaults of a spec.
        public var defaults: SpecDraft.Defaults
        /// The account of a uid in passwd(5).
        public var account: @Sendable (UInt32) -> Account?

        public init(
            computer: ComputerIdentity,
            hosts: Hosts,
            identities: Identities,
            defaults: SpecDraft.Defaults,
            account: @escaping @Sendable (UInt32) -> Account? = { _ in nil }
        ) {
            self.computer = computer
            self.hosts = hosts
            self.identities = identities
            self.defaults = defaults
            self.account = account
        }
    }

    /// A response, and what the log says about it.
    public struct Reply: Sendable {
        public let response: Response
        /// The body of the response, if it is streamed.
        public let stream: BodyStream?
        public let requestID: String
        /// The identity of the client; nil when it has not sent the token of one.
        public let identity: Identity?
        /// Whether the request was refused before it was known that its client is admitted.
        public let isRefusal: Bool
        /// The pattern of the matching route, without the prefix of its mount; nil for none.
        public let route: String?
        /// The service that the request was about, by name if that is known.
        public let service: String?
    }

    public let configuration: Configuration
    private let control: any ServiceControl
    let answers: any AnswerStore
    let audit: any AuditStore
    let describeComputer: @Sendable () async -> Computer
    let now: @Sendable () -> Timestamp
    let measureAgent: @Sendable () async -> AgentMeasurements
    private let makeRequestID: @Sendable () -> String
    let router: Router<Route>
    let listCache = ListCache()

    /// `describeComputer` describes the machine, `measureAgent` this process, `now` is the clock; `makeRequestID` makes
    /// an id for a request without one.
    public init(
        _ configuration: Configuration,
        control: any ServiceControl,
        answers: any AnswerStore,
        audit: any AuditStore,
        describeComputer: @escaping @Sendable () async -> Computer,
        now: @escaping @Sendable () -> Timestamp,
        measureAgent: @escaping @Sendable () async -> AgentMeasurements,
        makeRequestID: @escaping @Sendable () -> String
    ) {
        self.now = now
        self.configuration = configuration
        self.control = control
        self.answers = answers
        self.audit = audit
        self.describeComputer = describeComputer
        self.measureAgent = measureAgent
        self.makeRequestID = makeRequestID
        router = Router(Routes.all.map { (method: $0.method, pattern: $0.pattern, handler: $0) })
    }

    /// A copy of the API with other identities.
    public func replacingIdentities(by identities: Identities) -> API {
        var configuration = configuration
        configuration.identities = identities
        return API(
            configuration,
            control: control,
            answers: answers,
            audit: audit,
            describeComputer: describeComputer,
            now: now,
            measureAgent: measureAgent,
            makeRequestID: makeRequestID
        )
    }

    /// The first step of the answer to a request: the reply, or the admitted request for ``respond(to:_:)``.
    public enum FirstStep: Sendable {
        case reply(Reply)
        case later(AdmittedRequest)
    }

    /// Admits a request by its head, so that the body of a refused one need not be read.
    public func admit(_ head: RequestHead, from caller: Caller) -> FirstStep {
        let match = match(head)
        let client = client(head, caller)
        do throws(Failure) {
            return .later(AdmittedRequest(try admit(head, caller, client, match), caller, requestID(of: head)))
        } catch {
            return .reply(reply(error, requestID(of: head), client, Accept(head.fields), match))
        }
    }

    /// Admits a request and answers a read from memory. Must be called on the executor of the control.
    public func begin(_ request: Request, from caller: Caller) -> FirstStep {
        let head = request.head
        let match = match(head)
        let requestID = requestID(of: head)
        let client = client(head, caller)
        do throws(Failure) {
            let admission = try admit(head, caller, client, match)
            if let read = admission.route.read, control.areStatesKnown {
                let context = context(request, caller, admission, requestID)
                if context.isPlain {
                    let answer = try read(self, context)
                    return .reply(Reply(answer, requestID, client.identity, admission.route.label))
                }
            }
            return .later(AdmittedRequest(admission, caller, requestID))
        } catch {
            return .reply(reply(error, requestID, client, Accept(head.fields), match))
        }
    }

    /// Answers an admitted request. What changes something has an entry in the audit.
    public func respond(to request: Request, _ admitted: AdmittedRequest) async -> Reply {
        let head = request.head
        guard head.method != .get, head.method != .head, let role = admitted.admission.client.roleName else {
            return await answer(request, admitted)
        }
        let entry = AuditEntry(
            at: now(),
            identity: admitted.identity?.name,
            role: role,
            peer: admitted.caller.auditPeer,
            requestID: admitted.requestID,
            method: head.method.rawValue,
            path: head.target.path
        )
        let isUrgent = admitted.admission.route.isUrgent
        let number = await audit.begin(entry, isUrgent: isUrgent)
        let reply = await answer(request, admitted)
        await audit.end(number, service: reply.service, status: reply.response.status.code, isUrgent: isUrgent)
        return reply
    }

    private func answer(_ request: Request, _ admitted: AdmittedRequest) async -> Reply {
        let requestID = admitted.requestID
        let identity = admitted.identity
        let label = admitted.admission.route.label
        do throws(Failure) {
            let answer: Answer
            if let key = try Idempotency.key(of: request.head) {
                let fingerprint = Idempotency.fingerprint(of: request)
                let kept = try await ask { () throws(ControlError) in
                    try await answers.once(key, of: admitted.admission.client.account?.uid, fingerprint: fingerprint) {
                        begunAt in
                        KeptAnswer(await carryOut(request, admitted, begunAt: begunAt))
                    }
                }
                answer = Answer(kept)
            } else {
                answer = await carryOut(request, admitted)
            }
            let isRefusal = admitted.admission.client.roleName == nil && answer.response.status.code >= 400
            return Reply(answer, requestID, identity, label, isRefusal: isRefusal)
        } catch {
            let response = error.response(requestID: requestID, Accept(request.head.fields))
            return Reply(Answer(response: response), requestID, identity, label)
        }
    }

    private func carryOut(
        _ request: Request,
        _ admitted: AdmittedRequest,
        begunAt: Timestamp? = nil
    ) async -> Answer {
        var context = context(request, admitted.caller, admitted.admission, admitted.requestID)
        context.begunAt = begunAt
        do throws(Failure) {
            if let read = admitted.admission.route.read, context.isPlain {
                try await ask(context.control.awaitStates)
                return try read(self, context)
            }
            return try await admitted.admission.route.action(self, context)
        } catch {
            let response = error.response(requestID: admitted.requestID, context.accept)
            return Answer(response: response, service: admitted.admission.parameters["ref"])
        }
    }

    private func context(
        _ request: Request,
        _ caller: Caller,
        _ admitted: Admission,
        _ requestID: String
    ) -> Context {
        let head = request.head
        return Context(
            path: head.target.path,
            query: head.target.query,
            fields: head.fields,
            // The answers stored for idempotency keys are JSON.
            accept: Accept(head.fields.contains(Idempotency.field) ? Fields() : head.fields),
            parameters: admitted.parameters,
            body: request.body,
            dialect: ClientDialect(head.fields),
            requester: Requester(
                identity: admitted.client.identity?.name,
                uid: caller.uid,
                requestID: requestID
            ),
            role: admitted.client.role,
            account: admitted.client.account,
            control: admitted.client.account.map(control.services) ?? control
        )
    }

    /// The error response to bytes that could not be parsed as a request.
    public func reply(to failure: ParseFailure) -> Reply {
        reply(Failure(failure), makeRequestID(), Client(role: nil), nil, .notFound)
    }

    /// All services that the client may see, by name.
    func services(_ context: Context) async throws(Failure) -> [Service] {
        try await ask(context.control.awaitStates)
        return try read(context.control.list)
    }

    /// The service of the path, by name or id.
    func service(_ context: Context) async throws(Failure) -> Service {
        try await ask(context.control.awaitStates)
        return try read { () throws(ControlError) in try context.control.service(context.reference) }
    }

    /// Makes a call of the control that does not wait, and turns its error into the API's.
    func read<Result>(_ call: () throws(ControlError) -> Result) throws(Failure) -> Result {
        do throws(ControlError) {
            return try call()
        } catch {
            throw Failure(error)
        }
    }

    /// Makes a call of the control and turns its error into the API's.
    func ask<Argument, Result>(
        _ call: (Argument) async throws(ControlError) -> Result,
        _ argument: Argument
    ) async throws(Failure) -> Result {
        try await ask { () throws(ControlError) in try await call(argument) }
    }

    /// Makes a call of the control and turns its error into the API's.
    func ask<Result>(_ call: () async throws(ControlError) -> Result) async throws(Failure) -> Result {
        do throws(ControlError) {
            return try await call()
        } catch {
            throw Failure(error)
        }
    }

    private func match(_ head: RequestHead) -> RouteMatch<Route> { router.route(head.method, head.target.segments) }

    /// What a client may do, and its identity if it has sent the token of one.
    fileprivate struct Client: Sendable {
        /// Nil for an account, and for a client that may use only the routes that are open to every client.
        var role: Role?
        var identity: Identity?
        /// The account whose own services are the only ones for the client.
        var account: Account?

        /// The role in the audit; nil for a client that is not admitted.
        var roleName: String? { account == nil ? role?.rawValue : "account" }
    }

    /// The result of admitting a request.
    fileprivate struct Admission: Sendable {
        let route: Route
        let parameters: RouteParameters
        let client: Client
    }

    /// Admits a request to its route. A client without permission does not learn which routes and services exist.
    /// Throws 400, 401, 403, 404, 405 or 415.
    private func admit(
        _ head: RequestHead,
        _ caller: Caller,
        _ client: Client,
        _ match: RouteMatch<Route>
    ) throws(Failure) -> Admission {
        // Over vsock there is no browser, and the host forwards requests for the computer's public name.
        let isProxy = if case .vsock = caller { true } else { false }
        try configuration.hosts.check(head, computerID: configuration.computer.computerID, isProxy: isProxy)
        if case .found(let route, _) = match, route.role == nil {
            // Open to every client.
        } else if client.roleName == nil {
            throw refusal(of: caller)
        }
        switch match {
        case .notFound: throw .notFound
        case .methodNotAllowed(let allowed): throw .methodNotAllowed(allowed)
        case .found(let route, let parameters):
            if let needed = route.role {
                if let role = client.role, role < needed { throw .forbidden(to: role, needed: needed) }
                if client.account != nil, !route.isForAccounts { throw .forbiddenToAccounts }
            }
            if let computer = parameters["computer"], computer != "self", computer != configuration.computer.computerID
            {
                throw .computerNotFound
            }
            if head.framing != .none, let encoding = head.fields["Content-Encoding"],
                encoding.lowercased() != "identity"
            {
                throw .unsupportedEncoding
            }
            for parameter in head.target.query where !route.parameters.contains(parameter.name) {
                throw .badRequest("unknown query parameter '\(parameter.name.prefix(64))'")
            }
            return Admission(route: route, parameters: parameters, client: client)
        }
    }

    /// Identifies the client of a request, by the kernel's word or by the token that it sends.
    private func client(_ head: RequestHead, _ caller: Caller) -> Client {
        switch caller {
        case .unix(_, _, _, let isAdmitted): return Client(role: isAdmitted ? .admin : nil)
        case .account(_, _, let account):
            guard let account, configuration.defaults.allows(account.name) else { return Client(role: nil) }
            return Client(role: nil, account: account)
        case .vsock(_, isHost: false): return Client(role: nil)
        case .vsock:
            if let identity = identity(head) { return Client(role: identity.role, identity: identity) }
            return Client(role: configuration.identities.named(Identity.controlPlane) == nil ? .admin : nil)
        case .tcp:
            guard let identity = identity(head) else { return Client(role: nil) }
            return Client(role: identity.role, identity: identity)
        }
    }

    private func identity(_ head: RequestHead) -> Identity? {
        configuration.identities.isEmpty ? nil : configuration.identities.identity(of: head.fields["Authorization"])
    }

    /// The error for a client that may do nothing.
    private func refusal(of caller: Caller) -> Failure {
        switch caller {
        case .account(let uid, _, nil): .forbidden("the uid \(uid) is no account of /etc/passwd")
        case .account(_, _, let account?): .forbidden("services may not run as '\(account.name)'")
        case .unix, .vsock(_, isHost: false): .forbidden
        case .vsock: .unauthorized
        case .tcp: configuration.identities.isEmpty ? .noIdentities : .unauthorized
        }
    }

    private func reply(
        _ failure: Failure,
        _ requestID: String,
        _ client: Client,
        _ accept: Accept?,
        _ match: RouteMatch<Route>
    ) -> Reply {
        let label: String? = if case .found(let route, _) = match { route.label } else { nil }
        let response = failure.response(requestID: requestID, accept)
        return Reply(
            Answer(response: response),
            requestID,
            client.identity,
            label,
            isRefusal: client.roleName == nil
        )
    }

    private func requestID(of head: RequestHead) -> String {
        RequestID.sane(head.fields["X-Request-Id"]) ?? makeRequestID()
    }
}

/// A request that is admitted to its route.
public final class AdmittedRequest: Sendable {
    fileprivate let admission: API.Admission
    public let caller: Caller
    /// See ``API/Reply/identity``.
    public var identity: Identity? { admission.client.identity }
    fileprivate let requestID: String

    fileprivate init(_ admission: API.Admission, _ caller: Caller, _ requestID: String) {
        self.admission = admission
        self.caller = caller
        self.requestID = requestID
    }
}

extension API.Reply {
    fileprivate init(
        _ answer: Answer,
        _ requestID: String,
        _ identity: Identity?,
        _ route: String?,
        isRefusal: Bool = false
    ) {
        var response = answer.response
        response.fields.append("X-Request-Id", requestID)
        self.init(
            response: response,
            stream: answer.stream,
            requestID: requestID,
            identity: identity,
            isRefusal: isRefusal,
            route: route,
            service: answer.service
        )
    }
}
