public import HTTP
internal import Systemd

/// The application's callbacks.
public struct RequestHandler: Sendable {
    /// The first step of the answer to a request.
    public enum FirstStep: Sendable {
        case response(Response)
        /// `respond` is called with the object, which is the application's own.
        case later(any AnyObject & Sendable)
    }

    /// Handles the head of a request with a body. With a response the body is not read.
    public var admit: @EventLoopActor (RequestHead, Client) -> FirstStep
    /// Handles a request without a body.
    public var begin: @EventLoopActor (Request, Client) -> FirstStep
    /// How long a request waits before it is handled.
    public var hold: @EventLoopActor (RequestHead, Client) -> Duration
    /// Answers a request that was not answered by its first step; with a stream, that is the response's body.
    public var respond: @EventLoopActor (Request, any AnyObject & Sendable) async -> (Response, BodyStream?)
    /// Answers bytes that could not be parsed as a request; the connection is closed afterwards.
    public var respondToFailure: @EventLoopActor (ParseFailure, Client) -> Response

    public init(
        admit: @escaping @EventLoopActor (RequestHead, Client) -> FirstStep,
        begin: @escaping @EventLoopActor (Request, Client) -> FirstStep,
        hold: @escaping @EventLoopActor (RequestHead, Client) -> Duration = { _, _ in .zero },
        respond: @escaping @EventLoopActor (Request, any AnyObject & Sendable) async -> (Response, BodyStream?),
        respondToFailure: @escaping @EventLoopActor (ParseFailure, Client) -> Response
    ) {
        self.admit = admit
        self.begin = begin
        self.hold = hold
        self.respond = respond
        self.respondToFailure = respondToFailure
    }
}
