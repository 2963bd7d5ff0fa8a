public import HTTP
internal import Systemd

/// The application's callbacks.
public struct RequestHandler: Sendable {
    /// The response to a request with a body that is refused by its head; the body is then not read. Nil to accept it.
    public var refuse: @EventLoopActor (RequestHead, Peer) -> Response?
    /// The delay before a response is sent.
    public var delay: @EventLoopActor (Response) -> Duration
    /// Answers a request that needs no waiting; nil for one that may.
    public var respondAtOnce: @EventLoopActor (Request, Peer) -> Response?
    /// Answers a request; with a stream, that is the response's body.
    public var respond: @EventLoopActor (Request, Peer) async -> (Response, BodyStream?)
    /// Answers bytes that could not be parsed as a request; the connection is closed afterwards.
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
