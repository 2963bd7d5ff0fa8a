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

    /// Answers a request.
    public func respond(to request: Request, from caller: Caller) async -> Reply {
        let requestID = requestID(of: request.head)
        let match = match(request.head)
        do throws(Failure) {
            let admitted = try admit(request.head, caller, match)
            let answer: Answer
            if let key = try Idempotency.key(of: request.head) {
                let fingerprint = Idempotency.fingerprint(of: request)
                let kept = try await ask { () throws(ControlError) in
                    try await answers.once(key, fingerprint: fingerprint) { begunAt in
                        KeptAnswer(await carryOut(request, caller, admitted, requestID, begunAt: begunAt))
                    }
                }
                answer = Answer(kept)
            } else {
                answer = await carryOut(request, caller, admitted, requestID)
            }
            return Reply(answer.response, answer.stream, requestID, match, service: answer.service)
        } catch {
            return reply(error, requestID, Accept(request.head.fields), match)
        }
    }

    /// Answers a read from memory; nil for a request that needs ``respond(to:from:)``. Must be called on the executor
    /// of the control.
    public func respondAtOnce(to request: Request, from caller: Caller) -> Reply? {
        let match = match(request.head)
        guard case .found(let route, _) = match, let read = route.read else { return nil }
        let requestID = requestID(of: request.head)
        do throws(Failure) {
            let context = context(request, caller, try admit(request.head, caller, match), requestID)
            guard let answer = try read(self, context) else { return nil }
            return Reply(answer.response, answer.stream, requestID, match, service: answer.service)
        } catch {
            return reply(error, requestID, Accept(request.head.fields), match)
        }
    }

    private func carryOut(
        _ request: Request,
        _ caller: Caller,
        _ admitted: Admission,
        _ requestID: String,
        begunAt: Timestamp? = nil
    ) async -> Answer {
        var context = context(request, caller, admitted, requestID)
        context.begunAt = begunAt
        do throws(Failure) {
            return try await admitted.route.action(self, context)
        } catch {
            let response = error.response(requestID: requestID, context.accept)
            return Answer(response: response, service: admitted.parameters["ref"])
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

    /// The error response to a request that is refused by its head, so that its body need not be read; nil when it is
    /// admitted.
    public func refusal(of head: RequestHead, from caller: Caller) -> Reply? {
        let match = match(head)
        do throws(Failure) {
            _ = try admit(head, caller, match)
            return nil
        } catch {
            return reply(error, requestID(of: head), Accept(head.fields), match)
        }
    }

    /// The error response to bytes that could not be parsed as a request.
    public func reply(to failure: ParseFailure) -> Reply { reply(Failure(failure), makeRequestID(), nil, .notFound) }

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
    private struct Admission {
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
        Reply(failure.response(requestID: requestID, accept), nil, requestID, match, service: nil)
    }

    private func requestID(of head: RequestHead) -> String {
        RequestID.sane(head.fields["X-Request-Id"]) ?? makeRequestID()
    }
}

extension API.Reply {
    fileprivate init(
        _ response: Response,
        _ stream: BodyStream?,
        _ requestID: String,
        _ match: RouteMatch<Route>,
        service: String?
    ) {
        var response = response
        response.fields.append("X-Request-Id", requestID)
        let route: String? = if case .found(let route, _) = match { route.label } else { nil }
        self.init(response: response, stream: stream, requestID: requestID, route: route, service: service)
    }
}
