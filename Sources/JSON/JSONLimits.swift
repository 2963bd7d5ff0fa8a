/// What a document can make the parser hold. Every figure is the largest that is accepted. The size of the document is
/// the caller's to limit.
public struct JSONLimits: Hashable, Sendable {
    /// Arrays and objects inside one another. The parser recurses once for each, so a few hundred is the most that is
    /// wise.
    public var depthLimit = 64
    /// Values in the document, of every kind and at every depth.
    public var valueCountLimit = 10_000

    /// Limits that suit the body of an API request.
    public init() {}
}
