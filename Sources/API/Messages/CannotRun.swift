public import HTTP

extension API {
    /// The response of an agent that cannot run. `reasons` is nil for clients that may not know them.
    public static func cannotRun(_ reasons: [String]?, requestID: String, to head: RequestHead?) -> Response {
        let failure = Failure(
            .serviceUnavailable,
            "AGENT_CANNOT_RUN",
            "the agent cannot run: " + (reasons?.joined(separator: "; ") ?? "its log has the reason")
        )
        var response = failure.response(requestID: requestID, head.map { Accept($0.fields) })
        response.fields.append("X-Request-Id", requestID)
        if let seconds = Failure.retryAfterSeconds(response.status) { response.fields.append("Retry-After", seconds) }
        return response
    }
}
