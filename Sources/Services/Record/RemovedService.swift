/// What is kept of a service that was deleted, for audit. The values of its environment are not.
public struct RemovedService: Equatable, Sendable {
    /// The newest so many are kept.
    public static let countLimit = 1000

    public let record: ServiceRecord
    public let removedAt: Timestamp
    public let removedBy: Requester

    public init(_ record: ServiceRecord, removedAt: Timestamp, removedBy: Requester) {
        var record = record
        record.spec = record.spec.withoutEnvironment()
        self.record = record
        self.removedAt = removedAt
        self.removedBy = removedBy
    }
}

/// Who asked for something.
public struct Requester: Equatable, Sendable {
    /// The account of the process at the other end of a Unix socket; nil for a request over TCP.
    public let uid: UInt32?
    public let requestID: String

    public init(uid: UInt32?, requestID: String) {
        self.uid = uid
        self.requestID = requestID
    }
}
