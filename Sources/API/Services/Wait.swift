internal import HTTP
internal import Services

/// The wait that a client requests: `?wait=ready&timeout=30`.
struct Wait {
    static let parameters = ["wait", "timeout"]
    static let defaultSeconds = 30
    /// The longest wait.
    static let secondsLimit = 300

    let state: AwaitedState
    let timeout: Duration

    /// Nil when no wait is requested. Throws a 400 for an invalid value.
    static func requested(by query: Query) throws(Failure) -> Wait? {
        let word = query.first("wait")
        let state = word.flatMap { AwaitedState(rawValue: $0) }
        guard word == nil || state != nil else {
            let words = AwaitedState.allCases.map(\.rawValue).joined(separator: ", ")
            throw .badRequest("the query parameter 'wait' must be one of \(words)")
        }
        let text = query.first("timeout") ?? String(defaultSeconds)
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let seconds = Int(text),
            (1...secondsLimit).contains(seconds)
        else { throw .badRequest("the query parameter 'timeout' must be seconds from 1 to \(secondsLimit)") }
        // `timeout` without `wait` is ignored: the client libraries send it with every request.
        return state.map { Wait(state: $0, timeout: .seconds(seconds)) }
    }
}
