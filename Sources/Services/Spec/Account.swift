/// An account of the machine that has services of its own, as `systemctl --user` would give it.
///
/// It sees, creates and changes the services that run as this account; for it there are no others. What it asks for is
/// carried out as the account: nothing of its texts is read by a process of root, except as bytes that are passed on.
public struct Account: Equatable, Sendable {
    public let uid: UInt32
    /// The name in passwd(5).
    public let name: String
    /// The home directory in passwd(5).
    public let home: String

    public init(uid: UInt32, name: String, home: String) {
        self.uid = uid
        self.name = name
        self.home = home
    }

    /// Whether a service runs as this account. A spec that an account wrote runs as its uid, whatever the account is
    /// called; an account of the same name and another uid is another one.
    public func owns(_ spec: ServiceSpec) -> Bool {
        if let owner = spec.name.owner ?? spec.account { return owner == uid }
        // Compared byte by byte: Swift's == treats canonically equivalent strings as equal.
        return spec.user.utf8.elementsEqual(name.utf8)
    }

    /// The largest number of services whose spec an account has written.
    public static let servicesLimit = 64
    /// The number of changes of services that are carried out for an account at a time; others wait.
    public static let changesAtATime = 4
    /// The lines a second that journald takes of each service, beyond which it drops lines.
    public static let logRateLimit = 1000
    /// The longest time-out of a start or stop, in seconds.
    public static let timeoutLimit = 90
    /// The number of log and event streams that are open for an account at a time.
    public static let streamsLimit = 8
    /// The number of answers that are kept for the idempotency keys of an account, the newest ones.
    public static let answersLimit = 64
    /// The number of audit records that are kept of an account's own services that were deleted, the newest ones.
    public static let removedLimit = 64
    /// The number of connections of an account. A new one takes the place of the one that waits longest.
    public static let connectionsLimit = 16
}
