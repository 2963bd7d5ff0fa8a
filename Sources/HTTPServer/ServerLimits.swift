public import HTTP

/// Limits of the resources that clients can use. Each one is tested at the limit and one past it.
///
/// They bound the memory that clients can make the agent use, in MiB:
///
///      58   what is being received: ``ConnectionBudget/receivedBytesLimit`` of all kinds of peers
///      96   responses that peers do not take: ``waitingBytesLimit`` and ``accountWaitingBytesLimit``, and for a stream
///           twice as much while it waits
///      18   the connections, 7 KiB each: ``ConnectionBudget/connectionsLimit`` of each kind, and as many turned away
///      25   log entries that journald does not take: 1,000 that have a path of 8 KiB three times
///       8   events that are kept for readers who come back
///      28   open journals: 256 streams with a hundred files each, some 1 KiB a file
///      23   what is made of the one body that is being read at a time, and what the allocator loses
///     256
///
/// In addition: the records of the services, and the longest answer, a list of all of them, twice while it is made. The
/// journal's files, which readers map, are page cache of the kernel.
public struct ServerLimits: Sendable {
    /// The resources of all connections of one kind of peer. Each kind has its own, which the other cannot exhaust.
    public struct ConnectionBudget: Sendable {
        /// Number of connections. When all slots are taken, a new connection evicts the one that has been waiting for
        /// its peer for longest; when all are being answered or streamed to, it is answered 429 and closed. The number
        /// is twice that of the streams that are served.
        public var connectionsLimit = 512
        /// Bytes of requests that are being received or answered, including those read ahead. A request above it evicts
        /// the connection that has been waiting for its peer for longest; when all are being answered, it is answered
        /// 429 before its body is read.
        public var receivedBytesLimit = 32 * 1024 * 1024
    }

    /// The sizes of one request.
    public var request = Limits()
    /// For peers that are admitted by the mode of a Unix socket, and for the host.
    public var trusted = ConnectionBudget()
    /// For TCP clients with an identity, from their first request on.
    public var identified = ConnectionBudget(receivedBytesLimit: 14 * 1024 * 1024)
    /// For processes on a Unix socket that every account may use.
    public var accounts = ConnectionBudget(connectionsLimit: 128, receivedBytesLimit: 4 * 1024 * 1024)
    /// The number of connections of one account. A new one evicts the account's own that has been waiting for longest.
    public var accountConnectionsLimit = 16
    /// What ``waitingBytesLimit`` is for all other peers, for `accounts`.
    public var accountWaitingBytesLimit = 4 * 1024 * 1024
    /// For all other peers: any process on this machine can connect over TCP. Of a request of theirs no body is read,
    /// except on the routes that are open to everybody.
    public var strangers = ConnectionBudget(receivedBytesLimit: 8 * 1024 * 1024)
    /// Bytes of responses that wait for their peers, over all connections. Above it, the connection whose peer has
    /// taken nothing for longest is closed. A longer response is sent while it is the only one.
    public var waitingBytesLimit = 28 * 1024 * 1024
    /// Bytes of pipelined requests that are read ahead while one is being answered.
    public var readAheadBytesLimit = 16 * 1024
    /// Descriptors reserved for files, the bus and the journal. With fewer free ones a new connection evicts one that
    /// waits for its peer, or waits until one ends.
    public var spareDescriptors = 64
    /// From the first byte of a request to the end of its header section.
    public var headerTimeout = Duration.seconds(10)
    /// From the end of the header section to the end of the body.
    public var bodyTimeout = Duration.seconds(30)
    /// Between requests. Longer than the clients' own (httpx keeps 60 s, Go 90 s), so that they close first and no
    /// request crosses a close on its way.
    public var idleTimeout = Duration.seconds(120)
    /// Time in which the peer takes no byte of a response. A peer that takes few is bounded by ``waitingBytesLimit``.
    /// For a stream the bytes in the kernel's buffer count as well.
    public var writeTimeout = Duration.seconds(30)
    /// How long a closing connection is read, so that the peer gets the last response and not a reset (RFC 9112 §9.6).
    public var lingerTimeout = Duration.seconds(2)
    /// How long a stopping server waits for requests that are being answered.
    public var drainTimeout = Duration.seconds(10)
    /// How long a stopping server waits for the first request of an accepted connection: clients connect to send one.
    public var firstRequestDrainTimeout = Duration.seconds(1)

    public init() {}
}
