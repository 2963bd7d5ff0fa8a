internal import HTTP

/// What a client asks to wait for: `?wait=ready&timeout=30`.
struct Wait {
    static let parameters = ["wait", "timeout"]
    static let defaultSeconds = 30
    /// The longest wait.
    static let secondsLimit = 300

    let timeout: Duration

    /// Nil when nothing is to be waited for.
    static func requested(by query: Query) throws(Failure) -> Wait? {
        guard let condition = query.first("wait") else {
            guard query.first("timeout") == nil else {
                throw .badRequest("the query parameter 'timeout' means nothing without 'wait'")
            }
            return nil
        }
        guard condition == "ready" else { throw .badRequest("the query parameter 'wait' must be 'ready'") }
        let text = query.first("timeout") ?? String(defaultSeconds)
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let seconds = Int(text),
            (1...secondsLimit).contains(seconds)
        else { throw .badRequest("the query parameter 'timeout' must be seconds from 1 to \(secondsLimit)") }
        return Wait(timeout: .seconds(seconds))
    }
}
