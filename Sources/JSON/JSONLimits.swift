/// Limits of a document that the parser accepts; each is the largest accepted value. The caller limits the size of the
/// document.
public struct JSONLimits: Hashable, Sendable {
    /// Nesting depth of arrays and objects. The parser recurses once for each level: a few hundred is the safe maximum.
    public var depthLimit = 64
    /// Values in the document, of every kind and at every depth.
    public var valueCountLimit = 10_000

    /// Limits that suit the body of an API request.
    public init() {}
}
