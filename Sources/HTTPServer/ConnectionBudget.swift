internal import Systemd

/// The resources in use by the connections of one kind of peer.
@EventLoopActor
final class ConnectionBudget {
    let limits: ServerLimits.ConnectionBudget
    /// The ends of the list of connections, in the order in which they began to wait for their peers.
    private var longestWaiting: Connection?
    private var newest: Connection?
    private(set) var connectionCount = 0
    /// The number of used slots: by connections, and by requests that are worked on after their connection has ended.
    private var placeCount = 0
    private var turnedAwayCount = 0
    /// The bytes that ``ServerLimits/ConnectionBudget/receivedBytesLimit`` limits.
    var receivedBytes = 0

    init(_ limits: ServerLimits.ConnectionBudget) { self.limits = limits }

    var isFull: Bool { placeCount >= limits.connectionsLimit }

    var hasRoom: Bool { receivedBytes < limits.receivedBytesLimit }

    func admit(_ connection: Connection) {
        append(connection)
        placeCount += 1
    }

    /// Frees a slot for a new connection of an account. In a full budget it is one of the account that has the most
    /// connections.
    func makePlace(forAccount uid: UInt32, limit: Int) {
        let mine = connections.filter { $0.accountID == uid && !$0.isTurnedAway }
        if mine.count >= limit { return mine.first { $0.isWaiting }?.giveWay() ?? () }
        guard isFull, let heaviest = heaviestAccount(by: { $0.isTurnedAway ? 0 : 1 }) else { return }
        longestWaiting { $0.accountID == heaviest && !$0.isTurnedAway }?.giveWay()
    }

    /// Whether an account has as many connections as it may have.
    func isFull(forAccount uid: UInt32, limit: Int) -> Bool {
        isFull || connections.count { $0.accountID == uid && !$0.isTurnedAway } >= limit
    }

    /// The account whose connections have the largest sum; nil if they are of none.
    func heaviestAccount(by weight: (Connection) -> Int) -> UInt32? {
        var sums: [UInt32: Int] = [:]
        for connection in connections {
            if let uid = connection.accountID { sums[uid, default: 0] += weight(connection) }
        }
        return sums.max { $0.value < $1.value }?.key
    }

    /// Registers a connection without a slot until it has been refused. Returns whether it may linger: false when more
    /// than ``ServerLimits/ConnectionBudget/connectionsLimit`` of them are open.
    func turnAway(_ connection: Connection) -> Bool {
        append(connection)
        turnedAwayCount += 1
        return turnedAwayCount <= limits.connectionsLimit
    }

    /// Moves a connection to another budget, which must have a slot for it.
    func move(_ connection: Connection, to other: ConnectionBudget) {
        remove(connection)
        placeCount -= 1
        receivedBytes -= connection.heldBytes
        other.admit(connection)
        other.receivedBytes += connection.heldBytes
    }

    /// The connections, the one that has been waiting for longest first.
    var connections: [Connection] { longestWaiting.map { Array(sequence(first: $0) { $0.newer }) } ?? [] }

    /// Notes that a connection begins to wait for its peer.
    func beginsToWait(_ connection: Connection) {
        guard newest !== connection, connection.older != nil || longestWaiting === connection else { return }
        remove(connection)
        append(connection)
    }

    private func append(_ connection: Connection) {
        connection.older = newest
        newest?.newer = connection
        newest = connection
        if longestWaiting == nil { longestWaiting = connection }
        connectionCount += 1
    }

    func remove(_ connection: Connection) {
        if longestWaiting === connection { longestWaiting = connection.newer }
        if newest === connection { newest = connection.older }
        connection.older?.newer = connection.newer
        connection.newer?.older = connection.older
        connection.older = nil
        connection.newer = nil
        connectionCount -= 1
    }

    /// Frees the slot of a closed connection whose work has ended.
    func release(_ connection: Connection) {
        if connection.isTurnedAway { turnedAwayCount -= 1 } else { placeCount -= 1 }
    }

    /// The eligible connection that has been waiting for its peer for longest.
    func longestWaiting(where isEligible: (Connection) -> Bool) -> Connection? {
        var next = longestWaiting
        while let connection = next {
            if connection.isWaiting, isEligible(connection) { return connection }
            next = connection.newer
        }
        return nil
    }

    /// Closes connections that wait for their peers until the received bytes of `newcomer` fit; false when that is not
    /// enough. In a budget of accounts these are connections of the account that holds most.
    func makeRoom(for newcomer: Connection) -> Bool {
        while receivedBytes > limits.receivedBytesLimit {
            let heaviest = newcomer.accountID == nil ? nil : heaviestAccount { $0.heldBytes }
            let other = longestWaiting { $0 !== newcomer && $0.heldBytes > 0 && $0.accountID == heaviest }
            guard let other else { return false }
            other.giveWay()
        }
        return true
    }
}
