/// What streams may cost. Every one of them is tested at the limit and one past it.
public enum StreamLimits {
    /// Logs and events that are being read at the same time.
    public static let streamsLimit = 256
    /// After so long without anything to tell, a stream shows that it is alive.
    public static let quietTime = Duration.seconds(15)
    /// The newest events that are kept for readers who come back.
    public static let eventsLimit = 4096
    /// All kept events together, in bytes as they are sent, more or less.
    public static let eventsBytesLimit = 8 * 1024 * 1024
    /// How far a reader of events may be behind, in the same bytes.
    public static let readerLagBytesLimit = 1024 * 1024
}
