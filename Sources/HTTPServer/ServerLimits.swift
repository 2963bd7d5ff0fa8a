public import HTTP

/// What clients may cost the server. Every one of them is tested at the limit and one past it.
public struct ServerLimits: Sendable {
    /// The sizes of one request.
    public var request = Limits()
    /// Connections at a time, over all listeners; one more is answered 429 and closed.
    public var connectionsLimit = 512
    /// How many bytes of pipelined requests are read ahead while one is being answered.
    public var readAheadBytesLimit = 64 * 1024
    /// From the first byte of a request to the end of its header section.
    public var headerTimeout = Duration.seconds(10)
    /// From there to the end of its body.
    public var bodyTimeout = Duration.seconds(30)
    /// Between requests. Longer than the clients' own (httpx keeps 60 s, Go 90 s), so that they close first and no
    /// request crosses a close on its way.
    public var idleTimeout = Duration.seconds(120)
    /// Without the peer taking a single byte of a response.
    public var writeTimeout = Duration.seconds(30)
    /// How long a closing connection is read, so that the peer gets the last response and not a reset
    /// (RFC 9112 §9.6).
    public var lingerTimeout = Duration.seconds(2)
    /// How long a stopping server waits for requests that are being answered.
    public var drainTimeout = Duration.seconds(10)
    /// How long a stopping server waits for the first request of a connection that it has accepted: whoever connects
    /// is about to send one.
    public var firstRequestDrainTimeout = Duration.seconds(1)

    public init() {}
}
