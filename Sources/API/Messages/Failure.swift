internal import HTTP
internal import JSON
internal import Services

/// An error response: a status, a stable code, a sentence.
struct Failure: Error {
    var status: StatusCode
    var code: String
    var sentence: String
    var details: JSONObject = JSONObject()
    /// One more member of the details, with an encoded value.
    var encodedDetail: (name: String, value: [UInt8])?
    var fields = Fields()

    init(_ status: StatusCode, _ code: String, _ sentence: String) {
        self.status = status
        self.code = code
        self.sentence = sentence
    }

    /// The value of Retry-After, in seconds, for 429 and 503; nil for other statuses.
    static func retryAfterSeconds(_ status: StatusCode) -> String? {
        status == .tooManyRequests || status == .serviceUnavailable ? "1" : nil
    }

    static let unauthorized = unauthorized("a valid bearer token is required")
    static let noIdentities = unauthorized(
        "no client is admitted here: there is no token. Put one into /etc/miosa-agent/tokens, or use the Unix socket"
    )

    private static func unauthorized(_ sentence: String) -> Failure {
        var failure = Failure(.unauthorized, "UNAUTHORIZED", sentence)
        failure.fields.append("WWW-Authenticate", "Bearer")
        return failure
    }

    static func forbidden(to role: Role, needed: Role) -> Failure {
        forbidden("the role '\(role.rawValue)' may not call this; it takes '\(needed.rawValue)'")
    }

    static let forbiddenToAccounts = forbidden("the role 'account' may not call this")

    static let forbidden = forbidden("you may not call this")

    static func forbidden(_ sentence: String) -> Failure { Failure(.forbidden, "FORBIDDEN", sentence) }

    /// The answer of `/readyz` to a client that is not identified.
    static let notReady = {
        var failure = Failure(.serviceUnavailable, "SYSTEMD_UNAVAILABLE", "the agent is not ready")
        if let seconds = retryAfterSeconds(failure.status) { failure.fields.append("Retry-After", seconds) }
        return failure
    }()
    static let notFound = Failure(.notFound, "NOT_FOUND", "no such path")
    static let computerNotFound = Failure(.notFound, "COMPUTER_NOT_FOUND", "this is not that computer")

    /// RFC 9110 §15.5.16.
    static let unsupportedEncoding = {
        var failure = Failure(.unsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "the body must not be encoded")
        failure.fields.append("Accept-Encoding", "identity")
        return failure
    }()

    static func badRequest(_ reason: String) -> Failure { Failure(.badRequest, "BAD_REQUEST", reason) }

    static func notJSON(_ reason: String, offset: Int) -> Failure {
        var failure = badRequest("the body is not valid JSON: \(reason) at byte \(offset)")
        failure.details.append("offset", .number(JSONNumber(offset)))
        return failure
    }

    static func methodNotAllowed(_ allowed: [Method]) -> Failure {
        var failure = Failure(.methodNotAllowed, "METHOD_NOT_ALLOWED", "the path has other methods")
        failure.fields.append("Allow", allowed.map(\.rawValue).joined(separator: ", "))
        return failure
    }

    static func invalid(_ problems: FieldProblems) -> Failure {
        let sentence = problems.all.map { "'\($0.field)' \($0.reason)" }.joined(separator: "; ")
        var failure = Failure(.unprocessableContent, "VALIDATION_ERROR", sentence)
        for problem in problems.all { failure.details.append(problem.field, .string(problem.reason)) }
        return failure
    }

    /// The wait timed out; the operation before it has been carried out.
    static func waitTimeout(_ state: AwaitedState, _ service: [UInt8], _ log: [String]) -> Failure {
        var failure = Failure(.gatewayTimeout, "WAIT_TIMEOUT", "the service is not \(state.rawValue) in time")
        failure.encodedDetail = ("service", service)
        failure.details.append("log", .array(log.map { .string($0) }))
        return failure
    }

    /// The error for bytes that could not be parsed as a request.
    init(_ failure: ParseFailure) {
        self.init(failure.status, Self.code(of: failure.status), failure.reason)
        if let seconds = Self.retryAfterSeconds(status) { fields.append("Retry-After", seconds) }
    }

    init(_ error: ControlError) {
        switch error {
        case .serviceNotFound: self.init(.notFound, "SERVICE_NOT_FOUND", "service not found")
        case .runNotFound:
            self.init(.notFound, "RUN_NOT_FOUND", "the service has no record of that run; the newest 20 are kept")
        case .serviceExists: self.init(.conflict, "SERVICE_EXISTS", "a service with this name already exists")
        case .serviceRunning: self.init(.conflict, "SERVICE_RUNNING", "service is already running")
        case .serviceNotRunning: self.init(.conflict, "SERVICE_NOT_RUNNING", "service is not running")
        case .preconditionFailed:
            self.init(.preconditionFailed, "PRECONDITION_FAILED", "the service has another spec than 'If-Match' names")
        case .noReload:
            self.init(
                .conflict,
                "NO_RELOAD",
                "the service has no 'reload_signal': what it does on a signal is not known"
            )
        case .nameReserved(let reason):
            var problems = FieldProblems()
            problems.add("name", reason)
            self = .invalid(problems)
        case .unsupported(let field, let reason):
            var problems = FieldProblems()
            problems.add(field, reason)
            self = .invalid(problems)
        case .keyReused:
            var problems = FieldProblems()
            problems.add(Idempotency.field, "was used for another request")
            self = .invalid(problems)
        case .waitTimeout(_, let log, _): self = .waitTimeout(.ready, Array("null".utf8), log)
        case .tooManyServices(let limit):
            self.init(.tooManyRequests, "TOO_MANY_REQUESTS", "there are \(limit) services, the most that are kept")
        case .systemdUnavailable(let reason):
            self.init(.serviceUnavailable, "SYSTEMD_UNAVAILABLE", "systemd cannot be reached: \(reason)")
        case .badCursor:
            self = .badRequest("\(LogRoutes.lastEventID) is not a valid log position")
        case .bootNotFound:
            self.init(.notFound, "NOT_FOUND", "the journal has nothing of the boot that 'boot' asks for")
        case .tooManyStreams(let limit):
            self.init(.tooManyRequests, "TOO_MANY_REQUESTS", "there are \(limit) streams, the most that are served")
        case .journalUnavailable(let reason):
            self.init(.serviceUnavailable, "SYSTEMD_UNAVAILABLE", "the journal cannot be read: \(reason)")
        case .systemdTimeout(let reason):
            self.init(.gatewayTimeout, "SYSTEMD_TIMEOUT", "systemd did not do it in time: \(reason)")
        case .systemdRefused(let reason):
            self.init(.conflict, "SYSTEMD_REFUSED", "systemd refuses the job: \(reason)")
        case .superseded:
            let sentence = "another client of systemd has cancelled the job; what that one asked for holds"
            self.init(.conflict, "SUPERSEDED", sentence)
        case .storageFull(let reason):
            self.init(.insufficientStorage, "STORAGE_FULL", "cannot write to disk: \(reason)")
        case .storageTimeout(let reason):
            self.init(.gatewayTimeout, "STORAGE_TIMEOUT", "the disk does not answer: \(reason)")
        case .storageFailed(let reason):
            self.init(.internalServerError, "STORAGE_FAILED", "cannot write to disk: \(reason)")
        }
        if let seconds = Self.retryAfterSeconds(status) { fields.append("Retry-After", seconds) }
    }

    /// The error as a response, in the form that the client prefers: JSON, or one line of text.
    func response(requestID: String, _ accept: Accept?) -> Response {
        var response: Response
        if accept?.best(of: [MediaType.json, MediaType.text]) == MediaType.text {
            let line = PlainText.printable("error: \(sentence) (\(code), request \(requestID))")
            response = Response(status: status, text: line + "\n")
        } else {
            response = Response(status: status, json: document(requestID))
        }
        for field in fields { response.fields.append(field.name, field.value) }
        return response
    }

    private func document(_ requestID: String) -> JSONWriter {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("error", string: sentence)
        writer.member("code", string: code)
        writer.key("details")
        writer.beginObject()
        if let encodedDetail {
            writer.key(encodedDetail.name)
            writer.raw(encodedDetail.value)
        }
        for detail in details { writer.member(detail.key, detail.value) }
        writer.endObject()
        writer.member("request_id", string: requestID)
        writer.endObject()
        return writer
    }

    /// The code for a status of the HTTP layer: its reason phrase in capitals.
    private static func code(of status: StatusCode) -> String {
        status == .badRequest
            ? "BAD_REQUEST"
            : String(status.reasonPhrase.uppercased().map { $0.isLetter || $0.isNumber ? $0 : "_" })
    }
}

extension Response {
    /// A JSON document, with a line end behind it for terminals.
    init(status: StatusCode = .ok, json writer: JSONWriter) {
        self.init(status: status, contentType: "application/json", body: writer.finish() + [UInt8(ascii: "\n")])
    }
}
