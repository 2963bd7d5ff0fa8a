public import HTTP
internal import Systemd

/// What the server asks of the application.
public struct RequestHandler: Sendable {
    /// Whether a request with a body is refused for what its head says; then the body is not read.
    public var refuse: @EventLoopActor (RequestHead, Peer) -> Response?
    /// How long a response is held back before it is sent.
    public var delay: @EventLoopActor (Response) -> Duration
    /// Answers a request that takes no time; nil for one that may.
    public var respondAtOnce: @EventLoopActor (Request, Peer) -> Response?
    /// Answers a request; with a stream, that is the response's body.
    public var respond: @EventLoopActor (Request, Peer) async -> (Response, BodyStream?)
    /// Answers what is no request; the connection is closed afterwards.
    public var respondToFailure: @EventLoopActor (ParseFailure, Peer) -> Response

    public init(
        refuse: @escaping @EventLoopActor (RequestHead, Peer) -> Response?,
        delay: @escaping @EventLoopActor (Response) -> Duration = { _ in .zero },
        respondAtOnce: @escaping @EventLoopActor (Request, Peer) -> Response? = { _, _ in nil },
        respond: @escaping @EventLoopActor (Request, Peer) async -> (Response, BodyStream?),
        respondToFailure: @escaping @EventLoopActor (ParseFailure, Peer) -> Response
    ) {
        self.refuse = refuse
        self.delay = delay
        self.respondAtOnce = respondAtOnce
        self.respond = respond
        self.respondToFailure = respondToFailure
    }
}
