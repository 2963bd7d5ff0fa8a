internal import CSystemd
internal import Glibc

/// Writes structured entries to the journal without blocking: https://systemd.io/JOURNAL_NATIVE_PROTOCOL.
///
/// sd_journal_sendv(3) blocks the whole process when journald hangs for more than some ten entries. Here up to
/// ``waitingLimit`` entries wait in memory.
@EventLoopActor
public final class JournalWriter {
    private static let socketPath = "/run/systemd/journal/socket"
    /// The number of entries that wait for journald; further ones are dropped, and counted.
    public static let waitingLimit = 1000

    private let path: String
    private var socket: DescriptorHolder?
    private var watch: IOWatch?
    private var waiting: [[UInt8]] = []
    private var lostCount = 0

    /// Severity, with the numbers of syslog(3).
    public enum Priority: Int, CaseIterable, Sendable {
        case error = 3
        case warning = 4
        case notice = 5
        case info = 6
        case debug = 7

        /// The priority of that name; nil where there is none.
        public init?(name: String) {
            guard let priority = Self.allCases.first(where: { "\($0)" == name }) else { return nil }
            self = priority
        }
    }

    /// Writes to this machine's journal.
    public convenience init() { self.init(socketPath: Self.socketPath) }

    package init(socketPath: String) { path = socketPath }

    isolated deinit {
        // Before the descriptor is closed.
        watch = nil
    }

    /// Sends one entry. Names are upper-case journal fields; values may hold any text.
    public func send(_ priority: Priority, _ message: String, _ fields: [(name: String, value: String)]) {
        let entry = Self.encode([("MESSAGE", message), ("PRIORITY", String(priority.rawValue))] + fields)
        guard waiting.count < Self.waitingLimit else {
            lostCount += 1
            return
        }
        waiting.append(entry)
        flush()
    }

    private func flush() {
        var sent = 0
        while sent < waiting.count {
            switch deliver(waiting[sent]) {
            case .sent, .refused: sent += 1
            case .wouldBlock:
                waiting.removeFirst(sent)
                return waitForRoom()
            }
        }
        waiting = []
        watch = nil
        guard lostCount > 0 else { return }
        let text = "\(lostCount) log entries were lost: journald did not take them"
        lostCount = 0
        send(.warning, text, [("SYSLOG_IDENTIFIER", "miosa-agent")])
    }

    private enum Delivery {
        case sent
        case wouldBlock
        /// The journal refuses the entry; there is no other place to report that.
        case refused
    }

    private func deliver(_ entry: [UInt8]) -> Delivery {
        // The second attempt with a new socket: after a restart of journald the old one is not connected any more.
        for _ in 0..<2 {
            do throws(SystemError) {
                if socket == nil { socket = DescriptorHolder(try SocketAddress.unix(path: path).connected(SOCK_DGRAM)) }
                guard let socket else { return .refused }
                return try socket.descriptor.send(entry, from: 0) == entry.count ? .sent : .wouldBlock
            } catch {
                watch = nil
                socket = nil
            }
        }
        return .refused
    }

    private func waitForRoom() {
        guard watch == nil, let socket else { return }
        // Without memory for an event source the next entry tries again.
        watch = try? IOWatch(socket.descriptor, .writable) { [weak self] _ in self?.flush() }
    }

    /// `NAME=value`, or for a value of several lines `NAME`, its length in eight bytes, and the value.
    private static func encode(_ fields: [(name: String, value: String)]) -> [UInt8] {
        var bytes: [UInt8] = []
        for (name, value) in fields {
            bytes += name.utf8
            if value.utf8.contains(UInt8(ascii: "\n")) {
                bytes.append(UInt8(ascii: "\n"))
                let length = UInt64(value.utf8.count)
                bytes += (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * UInt64($0))) }
            } else {
                bytes.append(UInt8(ascii: "="))
            }
            bytes += value.utf8
            bytes.append(UInt8(ascii: "\n"))
        }
        return bytes
    }
}
