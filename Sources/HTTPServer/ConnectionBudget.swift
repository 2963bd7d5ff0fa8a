internal import Systemd

/// What the connections of one kind of peer use of the server.
@EventLoopActor
final class ConnectionBudget {
    let limits: ServerLimits.ConnectionBudget
    private(set) var connections: [ObjectIdentifier: Connection] = [:]
    /// Places that are taken: by connections, and by requests that are worked on after their connection has ended.
    private var placeCount = 0
    private var turnedAwayCount = 0
    /// What ``ServerLimits/ConnectionBudget/receivedBytesLimit`` limits.
    var receivedBytes = 0

    init(_ limits: ServerLimits.ConnectionBudget) { self.limits = limits }

    var isFull: Bool { placeCount >= limits.connectionsLimit }

    var hasRoom: Bool { receivedBytes < limits.receivedBytesLimit }

    func admit(_ connection: Connection) {
        connections[ObjectIdentifier(connection)] = connection
        placeCount += 1
    }

    /// A connection without a place, for as long as it takes to say so. False where there are so many that it may not
    /// take its time.
    func turnAway(_ connection: Connection) -> Bool {
        connections[ObjectIdentifier(connection)] = connection
        turnedAwayCount += 1
        return turnedAwayCount <= limits.connectionsLimit
    }

    func remove(_ connection: Connection) { connections[ObjectIdentifier(connection)] = nil }

    /// Nothing is done any more for a connection that is closed.
    func release(_ connection: Connection) {
        if connection.isTurnedAway { turnedAwayCount -= 1 } else { placeCount -= 1 }
    }

    /// The connection that has been waiting for its peer the longest among those that are eligible. The cost is linear:
    /// a few microseconds for a full share, which is less than what it costs to accept a connection.
    func longestWaiting(where isEligible: (Connection) -> Bool) -> Connection? {
        var longest: Connection?
        for connection in connections.values where connection.isWaiting && isEligible(connection) {
            if longest.map({ connection.waitingSince < $0.waitingSince }) ?? true { longest = connection }
        }
        return longest
    }

    /// Ends connections that wait for their peers until one has room for what it has received; false when that is not
    /// enough.
    func makeRoom(for newcomer: Connection) -> Bool {
        while receivedBytes > limits.receivedBytesLimit {
            guard let other = longestWaiting(where: { $0 !== newcomer && $0.heldBytes > 0 }) else { return false }
            other.giveWay()
        }
        return true
    }
}
