/// Where and why bytes are not the JSON text that is accepted.
public struct JSONParseFailure: Error, Hashable, Sendable {
    /// The first byte that is wrong, counted from 0; the number of bytes where more were expected.
    public let offset: Int
    /// A sentence fragment for a person, lower case. Never holds received bytes.
    public let reason: String

    /// Precondition, unchecked: `reason` holds no received bytes.
    public init(offset: Int, reason: String) {
        self.offset = offset
        self.reason = reason
    }
}

extension JSONParseFailure: CustomStringConvertible {
    public var description: String { "\(reason) at byte \(offset)" }
}
