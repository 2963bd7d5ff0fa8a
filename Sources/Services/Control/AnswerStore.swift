/// Stores the answers to requests with an `Idempotency-Key`, so that a repeated request is carried out once.
public protocol AnswerStore: Sendable {
    /// Returns the stored answer of the key, or runs the operation and stores its answer. Concurrent requests with one
    /// key run one after another. `uid` is that of the account whose key it is: each account has its own keys.
    /// `operation` gets the time at which an earlier request of the key was begun that has
    /// no final answer, because it timed out or the agent ended. Throws `keyReused` when the key was used for another
    /// request.
    func once(
        _ key: String,
        of uid: UInt32?,
        fingerprint: String,
        _ operation: @Sendable (_ begunAt: Timestamp?) async -> KeptAnswer
    ) async throws(ControlError) -> KeptAnswer
}

/// The stored part of an answer.
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

    /// The time for which an answer is kept.
    public static let lifetimeSeconds: Int64 = 24 * 60 * 60
    /// The number of answers that are kept, the newest ones.
    public static let countLimit = 1000
    /// The longest key, in bytes.
    public static let keyBytesLimit = 255

    /// Whether the answer is stored. 5xx and 429 are not: a repetition of the request tries again.
    public var isFinal: Bool { status < 500 && status != 429 }
}
