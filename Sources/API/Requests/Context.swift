internal import HTTP
internal import Services

/// A request on its way to an action.
struct Context: Sendable {
    let path: String
    let query: Query
    let parameters: RouteParameters
    let body: [UInt8]
    let vocabulary: Vocabulary
    let requester: Requester

    /// The `{ref}` of the path: a name or an id.
    var reference: String { parameters["ref"] ?? "" }
}
