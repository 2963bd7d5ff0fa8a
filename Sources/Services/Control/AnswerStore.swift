/// Remembers the answers to requests that carry an `Idempotency-Key`, so that a repeated request does its work once.
public protocol AnswerStore: Sendable {
    /// Gives the answer that was kept for the key, or carries the operation out and keeps its answer. The same key at
    /// the same time waits for the first. `operation` is told when the request was begun by an earlier one of the key
    /// that has no final answer: it timed out, or the agent ended. Throws `keyReused` when the key was used for another
    /// request.
    func once(
        _ key: String,
        fingerprint: String,
        _ operation: @Sendable (_ begunAt: Timestamp?) async -> KeptAnswer
    ) async throws(ControlError) -> KeptAnswer
}

/// An answer, as far as it is kept.
public struct KeptAnswer: Equatable, Sendable {
    public let status: Int
    public let location: String?
    public let body: [UInt8]
    /// The service that it is about, for the log.
    public let service: String?

    public init(status: Int, location: String?, body: [UInt8], service: String?) {
        self.status = status
        self.location = location
        self.body = body
        self.service = service
    }

    /// How long an answer is kept.
    public static let lifetimeSeconds: Int64 = 24 * 60 * 60
    /// The newest so many are kept.
    public static let countLimit = 1000
    /// The longest key, in bytes.
    public static let keyBytesLimit = 255

    /// Whether it is worth keeping. A failure of ours is not: whoever repeats the request wants it tried again.
    public var isFinal: Bool { status < 500 && status != 429 }
}
