/// A complete request.
public struct Request: Hashable, Sendable {
    public let head: RequestHead
    /// The content with the transfer coding removed. Trailer fields are checked and dropped.
    public let body: [UInt8]

    /// A request that needs no parsing, without a body unless one is given.
    public init(head: RequestHead, body: [UInt8] = []) {
        self.head = head
        self.body = body
    }
}
