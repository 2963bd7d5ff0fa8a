/// Why received bytes are not a request that is served, and the status to answer with before closing.
public struct ParseFailure: Error, Hashable, Sendable {
    public let status: StatusCode
    /// A sentence fragment for a person, lower case. Never holds received bytes.
    public let reason: String

    /// Precondition, unchecked: `reason` holds no received bytes.
    public init(status: StatusCode, reason: String) {
        self.status = status
        self.reason = reason
    }

    static func badRequest(_ reason: String) -> ParseFailure {
        ParseFailure(status: .badRequest, reason: reason)
    }
}

extension ParseFailure: CustomStringConvertible {
    public var description: String { "\(status): \(reason)" }
}
