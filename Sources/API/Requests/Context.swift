internal import HTTP
internal import Services

/// A request on its way to an action.
struct Context: Sendable {
    let path: String
    let query: Query
    let fields: Fields
    let accept: Accept
    let parameters: RouteParameters
    let body: [UInt8]
    let dialect: ClientDialect
    let requester: Requester
    /// Nobody who could do anything here: on routes that are open to everybody.
    let isStranger: Bool

    /// When a request with the same idempotency key was begun that has no final answer: this one carries on.
    var begunAt: Timestamp?

    /// Whether the client is a person who wants to read the answer.
    var wantsText: Bool { accept.best(of: [MediaType.json, MediaType.text]) == MediaType.text }

    /// The `{ref}` of the path: a name or an id.
    var reference: String { parameters["ref"] ?? "" }
}
