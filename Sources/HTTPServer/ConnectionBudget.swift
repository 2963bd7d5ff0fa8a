internal import Systemd

/// The resources in use by the connections of one kind of peer.
@EventLoopActor
final class ConnectionBudget {
    let limits: ServerLimits.ConnectionBudget
    private(set) var connections: [ObjectIdentifier: Connection] = [:]
    /// The number of used slots: by connections, and by requests that are worked on after their connection has ended.
    private var placeCount = 0
    private var turnedAwayCount = 0
    /// The bytes that ``ServerLimits/ConnectionBudget/receivedBytesLimit`` limits.
    var receivedBytes = 0

    init(_ limits: ServerLimits.ConnectionBudget) { self.limits = limits }

    var isFull: Bool { placeCount >= limits.connectionsLimit }

    var hasRoom: Bool { receivedBytes < limits.receivedBytesLimit }

    func admit(_ connection: Connection) {
        connections[ObjectIdentifier(connection)] = connection
        placeCount += 1
    }

    /// Registers a connection without a slot until it has been refused. Returns whether it may linger: false when more
    /// than ``ServerLimits/ConnectionBudget/connectionsLimit`` of them are open.
    func turnAway(_ connection: Connection) -> Bool {
        connections[ObjectIdentifier(connection)] = connection
        turnedAwayCount += 1
        return turnedAwayCount <= limits.connectionsLimit
    }

    func remove(_ connection: Connection) { connections[ObjectIdentifier(connection)] = nil }

    /// Frees the slot of a closed connection whose work has ended.
    func release(_ connection: Connection) {
        if connection.isTurnedAway { turnedAwayCount -= 1 } else { placeCount -= 1 }
    }

    /// The eligible connection that has been waiting for its peer for longest. The cost is linear: a few microseconds
    /// for a full budget, less than the cost of accepting a connection.
    func longestWaiting(where isEligible: (Connection) -> Bool) -> Connection? {
        var longest: Connection?
        for connection in connections.values where connection.isWaiting && isEligible(connection) {
            if longest.map({ connection.waitingSince < $0.waitingSince }) ?? true { longest = connection }
        }
        return longest
    }

    /// Closes connections that wait for their peers until the received bytes of `newcomer` fit; false when that is not
    /// enough.
    func makeRoom(for newcomer: Connection) -> Bool {
        while receivedBytes > limits.receivedBytesLimit {
            guard let other = longestWaiting(where: { $0 !== newcomer && $0.heldBytes > 0 }) else { return false }
            other.giveWay()
        }
        return true
    }
}
