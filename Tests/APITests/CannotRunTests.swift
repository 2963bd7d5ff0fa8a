import API
import HTTP
import Testing

/// What clients are told by an agent that cannot run.
struct CannotRunTests {
    private func text(_ reasons: [String]?, _ fields: Fields = [:]) throws -> String {
        let target = try RequestTarget(parsing: "/v1", method: .get)
        let head = try RequestHead(method: .get, target: target, fields: fields)
        let response = API.cannotRun(reasons, requestID: "r-1", to: head)
        #expect(response.status == .serviceUnavailable)
        #expect(response.fields["Retry-After"] == "1")
        #expect(response.fields["X-Request-Id"] == "r-1")
        return String(decoding: response.body, as: UTF8.self)
    }

    @Test func `every reason is told to those who may know it`() throws {
        let expected = """
            {"error":"the agent cannot run: a; b","code":"AGENT_CANNOT_RUN","details":{},"request_id":"r-1"}

            """
        #expect(try text(["a", "b"], ["Host": "x"]) == expected)
    }

    @Test func `others learn no setting`() throws {
        #expect(try text(nil, ["Host": "x"]).contains("the agent cannot run: its log has the reason"))
    }

    @Test func `people get a line`() throws {
        let line = try text(["a"], ["Host": "x", "Accept": "text/plain"])
        #expect(line == "error: the agent cannot run: a (AGENT_CANNOT_RUN, request r-1)\n")
    }
}
