public import HTTP
public import Services

/// The HTTP API of a computer's services: from a request to a response.
public final class API: Sendable {
    /// The settings of the API.
    public struct Configuration: Sendable {
        public var identity: Identity
        /// The token that a TCP client must send; nil: no TCP client is admitted.
        public var token: BearerToken?
        /// The defaults of a spec.
        public var defaults: SpecDraft.Defaults

        public init(identity: Identity, token: BearerToken?, defaults: SpecDraft.Defaults) {
            self.identity = identity
            self.token = token
            self.defaults = defaults
        }
    }

    /// A response, and what the log says about it.
    public struct Reply: Sendable {
        public let response: Response
        /// The body of the response, if it is streamed.
        public let stream: BodyStream?
        public let requestID: String
        /// The pattern of the matching route, without the prefix of its mount; nil for none.
        public let route: String?
        /// The service that the request was about, by name if that is known.
        public let service: String?
    }

    public let configuration: Configuration
    let control: any ServiceControl
    let answers: any AnswerStore
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
        describeComputer: @escaping @Sendable () async -> Computer,
        now: @escaping @Sendable () -> Timestamp,
        measureAgent: @escaping @Sendable () async -> AgentMeasurements,
        makeRequestID: @escaping @Sendable () -> String
    ) {
        self.now = now
        self.configuration = configuration
        self.control = control
        self.answers = answers
        self.describeComputer = describeComputer
        self.measureAgent = measureAgent
        self.makeRequestID = makeRequestID
        router = Router(Routes.all.map { (method: $0.method, pattern: $0.pattern, handler: $0) })
    }

    /// A copy of the API with another token.
    public func replacingToken(by token: BearerToken?) -> API {
        var configuration = configuration
        configuration.token = token
        return API(
            configuration,
            control: control,
            answers: answers,
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
        do throws(Failure) {
            return .later(AdmittedRequest(try admit(head, caller, match), caller, requestID(of: head)))
        } catch {
            return .reply(reply(error, requestID(of: head), Accept(head.fields), match))
        }
    }

    /// Admits a request and answers a read from memory. Must be called on the executor of the control.
    public func begin(_ request: Request, from caller: Caller) -> FirstStep {
        let head = request.head
        let match = match(head)
        let requestID = requestID(of: head)
        do throws(Failure) {
            let admission = try admit(head, caller, match)
            if let read = admission.route.read, control.areStatesKnown {
                let context = context(request, caller, admission, requestID)
                if context.isPlain {
                    let answer = try read(self, context)
                    let label = admission.route.label
                    return .reply(Reply(answer.response, answer.stream, requestID, label, service: answer.service))
                }
            }
            return .later(AdmittedRequest(admission, caller, requestID))
        } catch {
            return .reply(reply(error, requestID, Accept(head.fields), match))
        }
    }

    /// Answers an admitted request.
    public func respond(to request: Request, _ admitted: AdmittedRequest) async -> Reply {
        let requestID = admitted.requestID
        let label = admitted.admission.route.label
        do throws(Failure) {
            let answer: Answer
            if let key = try Idempotency.key(of: request.head) {
                let fingerprint = Idempotency.fingerprint(of: request)
                let kept = try await ask { () throws(ControlError) in
                    try await answers.once(key, fingerprint: fingerprint) { begunAt in
                        KeptAnswer(await carryOut(request, admitted, begunAt: begunAt))
                    }
                }
                answer = Answer(kept)
            } else {
                answer = await carryOut(request, admitted)
            }
            return Reply(answer.response, answer.stream, requestID, label, service: answer.service)
        } catch {
            let response = error.response(requestID: requestID, Accept(request.head.fields))
            return Reply(response, nil, requestID, label, service: nil)
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
                try await ask(control.awaitStates)
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
            requester: Requester(uid: caller.uid, requestID: requestID),
            isStranger: admitted.isStranger
        )
    }

    /// The error response to bytes that could not be parsed as a request.
    public func reply(to failure: ParseFailure) -> Reply { reply(Failure(failure), makeRequestID(), nil, .notFound) }

    /// All services, by name.
    func services() async throws(Failure) -> [Service] {
        try await ask(control.awaitStates)
        return try read(control.list)
    }

    /// One service, by name or id.
    func service(_ reference: String) async throws(Failure) -> Service {
        try await ask(control.awaitStates)
        return try read { () throws(ControlError) in try control.service(reference) }
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

    /// The result of admitting a request.
    fileprivate struct Admission: Sendable {
        let route: Route
        let parameters: RouteParameters
        /// See ``Context/isStranger``.
        let isStranger: Bool
    }

    /// Admits a request to its route. A client without permission does not learn which routes and services exist.
    /// Throws 400, 401, 403, 404, 405 or 415.
    private func admit(
        _ head: RequestHead,
        _ caller: Caller,
        _ match: RouteMatch<Route>
    ) throws(Failure) -> Admission {
        if case .tcp = caller {
            // DNS rebinding and cross-site requests: a web page can send requests here, with its origin in `Origin` or
            // with a host name of its own that resolves to this machine. No client of the API does either.
            guard !head.fields.contains("Origin"), LocalHost.isLocal(head.host) else { throw .forbidden }
        }
        var isStranger = false
        if case .found(let route, _) = match, route.access == .anyone {
            isStranger = !isIdentified(head, caller)
        } else {
            try identify(head, caller)
        }
        switch match {
        case .notFound: throw .notFound
        case .methodNotAllowed(let allowed): throw .methodNotAllowed(allowed)
        case .found(let route, let parameters):
            if let computer = parameters["computer"], computer != "self", computer != configuration.identity.computerID
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
            return Admission(route: route, parameters: parameters, isStranger: isStranger)
        }
    }

    private func identify(_ head: RequestHead, _ caller: Caller) throws(Failure) {
        switch caller {
        case .unix(_, _, _, isAdmitted: true): return
        case .unix: throw .forbidden
        case .vsock(_, isHost: false): throw .forbidden
        case .vsock:
            guard let token = configuration.token else { return }
            guard token.matches(head.fields["Authorization"]) else { throw .unauthorized }
        case .tcp:
            guard let token = configuration.token, token.matches(head.fields["Authorization"]) else {
                throw .unauthorized
            }
        }
    }

    /// Whether a caller may use more than the health routes.
    private func isIdentified(_ head: RequestHead, _ caller: Caller) -> Bool { (try? identify(head, caller)) != nil }

    private func reply(
        _ failure: Failure,
        _ requestID: String,
        _ accept: Accept?,
        _ match: RouteMatch<Route>
    ) -> Reply {
        let label: String? = if case .found(let route, _) = match { route.label } else { nil }
        return Reply(failure.response(requestID: requestID, accept), nil, requestID, label, service: nil)
    }

    private func requestID(of head: RequestHead) -> String {
        RequestID.sane(head.fields["X-Request-Id"]) ?? makeRequestID()
    }
}

/// A request that is admitted to its route.
public final class AdmittedRequest: Sendable {
    fileprivate let admission: API.Admission
    public let caller: Caller
    fileprivate let requestID: String

    fileprivate init(_ admission: API.Admission, _ caller: Caller, _ requestID: String) {
        self.admission = admission
        self.caller = caller
        self.requestID = requestID
    }
}

extension API.Reply {
    fileprivate init(
        _ response: Response,
        _ stream: BodyStream?,
        _ requestID: String,
        _ route: String?,
        service: String?
    ) {
        var response = response
        response.fields.append("X-Request-Id", requestID)
        self.init(response: response, stream: stream, requestID: requestID, route: route, service: service)
    }
}
