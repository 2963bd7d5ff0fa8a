/// The audit record of a deleted service, without the values of its environment.
public struct RemovedService: Equatable, Sendable {
    /// The number of audit records that are kept, the newest ones.
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

/// The client of a request.
public struct Requester: Equatable, Sendable {
    /// The name of the identity whose token the client has sent; nil over a Unix socket.
    public let identity: String?
    /// The account of the process at the other end of a Unix socket; nil for a request over TCP.
    public let uid: UInt32?
    public let requestID: String

    public init(identity: String? = nil, uid: UInt32?, requestID: String) {
        self.identity = identity
        self.uid = uid
        self.requestID = requestID
    }
}
