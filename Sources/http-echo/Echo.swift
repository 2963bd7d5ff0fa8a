internal import HTTP
internal import HTTPServer

/// Answers every request with 200: a conformance test then tests the parser and the connection, and no API.
enum Echo {
    static let handler = RequestHandler(
        admit: { _, _ in .later(Admitted()) },
        begin: { request, _ in .response(answer(request)) },
        respond: { request, _ in (answer(request), nil) },
        respondToFailure: { failure, _ in Response(status: failure.status, text: "\(failure.reason)\n") }
    )

    private final class Admitted: Sendable {}

    /// The header lines as they were parsed for `/echo`, the body for a POST, nothing else of the request.
    private static func answer(_ request: Request) -> Response {
        let head = request.head
        if head.target.path == "/echo" {
            return Response(status: .ok, text: head.fields.map { "\($0.name): \($0.value)\n" }.joined())
        }
        guard head.method == .post else { return Response(status: .ok, text: "ok\n") }
        return Response(status: .ok, contentType: "application/octet-stream", body: request.body)
    }
}
