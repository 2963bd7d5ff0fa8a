internal import HTTP

/// The wait that a client requests: `?wait=ready&timeout=30`.
struct Wait {
    static let parameters = ["wait", "timeout"]
    static let defaultSeconds = 30
    /// The longest wait.
    static let secondsLimit = 300

    let timeout: Duration

    /// Nil when no wait is requested. Throws a 400 for an invalid value.
    static func requested(by query: Query) throws(Failure) -> Wait? {
        let condition = query.first("wait")
        guard condition ?? "ready" == "ready" else { throw .badRequest("the query parameter 'wait' must be 'ready'") }
        let text = query.first("timeout") ?? String(defaultSeconds)
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let seconds = Int(text),
            (1...secondsLimit).contains(seconds)
        else { throw .badRequest("the query parameter 'timeout' must be seconds from 1 to \(secondsLimit)") }
        // `timeout` without `wait` is ignored: the client libraries send it with every request.
        return condition.map { _ in Wait(timeout: .seconds(seconds)) }
    }
}
