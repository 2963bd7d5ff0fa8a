/// Limits of streams. Each one is tested at the limit and one past it.
public enum StreamLimits {
    /// The number of log and event streams that are open at the same time.
    public static let streamsLimit = 256
    /// Keep-alive interval of idle streams.
    public static let quietTime = Duration.seconds(15)
    /// The number of events that are kept for readers that reconnect, the newest ones.
    public static let eventsLimit = 4096
    /// The approximate size of all kept events, in bytes as sent.
    public static let eventsBytesLimit = 8 * 1024 * 1024
    /// The size of the events that a reader may be behind, in the same bytes.
    public static let readerLagBytesLimit = 1024 * 1024
}
