/// Limits of what the parser accepts; each is the largest accepted value.
public struct Limits: Hashable, Sendable {
    /// Bytes of the request target as sent; above it 414.
    public var requestTargetBytesLimit = 8 * 1024
    /// Bytes of request line, header section, chunk extensions and trailer section together, line ends included;
    /// above it 431.
    public var headerBytesLimit = 32 * 1024
    /// Field lines of header and trailer section together; above it 431.
    public var headerFieldsLimit = 100
    /// Bytes of the decoded body; above it 413.
    public var bodyBytesLimit = 1024 * 1024
    /// Bytes of one chunk-size line, extensions included and line end excluded; above it 400.
    public var chunkLineBytesLimit = 256
    /// Bytes of the method token; above it 501, as RFC 9112 §3 recommends.
    public var methodBytesLimit = 32

    /// The limits of the API as documented.
    public init() {}
}
