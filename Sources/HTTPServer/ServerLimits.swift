public import HTTP

/// What clients may cost the server. Every one of them is tested at the limit and one past it.
///
/// Whatever clients send, the memory that it takes stays below a bound, in MiB:
///
///      64   what is being received: ``ConnectionBudget/receivedBytesLimit`` of both kinds of peers
///      96   responses that peers do not take: ``waitingBytesLimit``, and for a stream twice as much while it waits
///      12   the connections, 7 KiB each: ``ConnectionBudget/connectionsLimit`` of both kinds, and as many turned away
///      25   log entries that journald does not take: 1,000 that have a path of 8 KiB three times
///       8   events that are kept for readers who come back
///      28   open journals: 256 streams with a hundred files each, some 1 KiB a file
///      23   what is made of the one body that is being read at a time, and what the allocator loses
///     256
///
/// To that come the records of the services and the longest answer, which is a list of them: twice while it is made.
/// The journal's files, which readers map, are the kernel's to keep or drop.
public struct ServerLimits: Sendable {
    /// What the connections of one kind of peer may use, all together. No kind can use up what is another's.
    public struct ConnectionBudget: Sendable {
        /// Connections at a time. One more takes the place of the one that has been waiting for its peer the longest;
        /// where all are being answered or streamed to, it is answered 429 and closed. There is room for every stream
        /// that is served and as many others.
        public var connectionsLimit = 512
        /// Bytes of requests that are being received or answered, read ahead ones included. A request that would be
        /// past it takes the room of the one that has been waiting for its peer the longest; where all are being
        /// answered it is answered 429, before its body is read.
        public var receivedBytesLimit = 32 * 1024 * 1024
    }

    /// The sizes of one request.
    public var request = Limits()
    /// For those who are let in by the mode of a Unix socket, and for the host.
    public var trusted = ConnectionBudget()
    /// For everybody else: who connects over TCP may be anybody on this machine.
    public var strangers = ConnectionBudget()
    /// Bytes of responses that wait for peers to take them, over all connections. Past it the peer that has taken
    /// nothing for the longest loses its connection. A longer response is sent while it is the only one.
    public var waitingBytesLimit = 32 * 1024 * 1024
    /// How many bytes of pipelined requests are read ahead while one is being answered.
    public var readAheadBytesLimit = 16 * 1024
    /// Descriptors that connections leave to files, the bus and the journal. With fewer than that a newcomer takes the
    /// place of one that waits, or has to wait until one ends.
    public var spareDescriptors = 64
    /// From the first byte of a request to the end of its header section.
    public var headerTimeout = Duration.seconds(10)
    /// From there to the end of its body.
    public var bodyTimeout = Duration.seconds(30)
    /// Between requests. Longer than the clients' own (httpx keeps 60 s, Go 90 s), so that they close first and no
    /// request crosses a close on its way.
    public var idleTimeout = Duration.seconds(120)
    /// Without the peer taking a single byte of a response. One that takes few is bounded by ``waitingBytesLimit``. For
    /// a stream what the kernel holds for the peer counts, too.
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
