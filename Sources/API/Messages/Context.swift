internal import HTTP
internal import Services

/// A request that was admitted, as an action gets it.
struct Context: Sendable {
    let path: String
    let query: Query
    let fields: Fields
    let accept: Accept
    let parameters: RouteParameters
    let body: [UInt8]
    let dialect: ClientDialect
    let requester: Requester
    /// The role of the client; nil for an account, and for a client that is not identified, on routes that are open to
    /// every client.
    let role: Role?
    /// The account whose own services are the only ones for the client; nil for other clients.
    let account: Account?
    /// The services that the client may see and change.
    let control: any ServiceControl

    /// When a request with the same idempotency key was begun that has no final answer: this request resumes it.
    var begunAt: Timestamp?

    /// Whether the values of environment variables are hidden from the client.
    var hidesEnvironment: Bool { account == nil && role.map { $0 < .admin } ?? true }

    /// The name of a service as the client knows it: for an account without its uid.
    func name(of service: ServiceName) -> String { account == nil ? service.description : String(service.local) }

    /// Whether the client prefers text, for a person.
    var wantsText: Bool { accept.best(of: [MediaType.json, MediaType.text]) == MediaType.text }

    /// Whether the request is for JSON without query parameters.
    var isPlain: Bool { query.isEmpty && !wantsText }

    /// The `{ref}` of the path: a name or an id.
    var reference: String { parameters["ref"] ?? "" }
}
