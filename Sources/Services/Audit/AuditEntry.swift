/// An entry of the audit: a change that an admitted client asked for, and its answer.
public struct AuditEntry: Equatable, Sendable {
    /// Where a request came from.
    public enum Peer: Equatable, Sendable {
        /// A process on this machine, over a Unix socket.
        case process(uid: UInt32, pid: Int32)
        /// A TCP client, by its address.
        case address(String)
        /// A machine over vsock, by its context id.
        case machine(UInt32?)
    }

    /// When the request was admitted.
    public let at: Timestamp
    /// The name of the identity whose token the client has sent; nil without a token.
    public let identity: String?
    public let role: String
    public let peer: Peer
    public let requestID: String
    public let method: String
    public let path: String
    /// The service that the request was about, by name if that is known.
    public var service: String?
    /// The status of the answer; nil while there is none, and for ever when the agent ended before it.
    public var status: Int?

    public init(
        at: Timestamp,
        identity: String?,
        role: String,
        peer: Peer,
        requestID: String,
        method: String,
        path: String,
        service: String? = nil,
        status: Int? = nil
    ) {
        self.at = at
        self.identity = identity
        self.role = role
        self.peer = peer
        self.requestID = requestID
        self.method = method
        self.path = path
        self.service = service
        self.status = status
    }
}

/// Selects entries of the audit.
public struct AuditQuery: Equatable, Sendable {
    /// The default and the limit of ``limit``.
    public static let defaultLimit = 100
    public static let limitLimit = 1000

    /// The earliest time of an entry.
    public var since: Timestamp?
    public var service: String?
    /// The name of an identity, or `uid:NUMBER` for an account of this machine.
    public var identity: String?
    /// The number of entries, the newest ones.
    public var limit = AuditQuery.defaultLimit

    public init() {}

    public func matches(_ entry: AuditEntry) -> Bool {
        if let since, entry.at < since { return false }
        if let service, entry.service != service { return false }
        guard let identity, identity != entry.identity else { return true }
        guard case .process(let uid, _) = entry.peer else { return false }
        return identity == "uid:\(uid)"
    }
}

/// Stores the audit.
public protocol AuditStore: Sendable {
    /// Begins an entry, before the change is made. Returns its number, for ``end(_:service:status:isUrgent:)``. With
    /// `isUrgent` it does not wait for the disk.
    func begin(_ entry: AuditEntry, isUrgent: Bool) async -> Int

    /// Adds the answer to an entry. Waits until the entry is written, at most 5 s, or 0.1 s with `isUrgent`.
    func end(_ number: Int, service: String?, status: Int, isUrgent: Bool) async

    /// The entries that match, the newest first. Throws a storage error.
    func read(_ query: AuditQuery) async throws(ControlError) -> [AuditEntry]
}
