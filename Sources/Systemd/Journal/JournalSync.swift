internal import CSystemd
internal import Glibc

/// A barrier in the journal.
@EventLoopActor
public enum JournalSync {
    /// journald's varlink socket: systemd-journald.service(8); `journalctl --sync` uses it.
    private static let socketPath = "/run/systemd/journal/io.systemd.journal"
    /// A varlink message is JSON with a NUL at its end.
    private static let request = Array("{\"method\":\"io.systemd.Journal.Synchronize\"}".utf8) + [0]

    /// Connections whose wait for the answer has timed out. They stay open until the answer arrives: journald 247 loops
    /// forever when a client closes its connection before the answer.
    private static var unanswered: [ObjectIdentifier: Unanswered] = [:]
    /// The limit of these connections. At the limit journald is not asked again.
    package static let unansweredLimit = 16

    private final class Unanswered {
        let connection: DescriptorHolder
        var watch: IOWatch?

        init(_ connection: DescriptorHolder) { self.connection = connection }
    }

    /// Waits until journald has written all entries that were sent to it before, at most for `patience`. Without it the
    /// last lines of a process that has just ended may be missing. False when journald did not answer.
    @discardableResult
    public static func synchronize(within patience: Duration) async -> Bool {
        await synchronize(within: patience, socketPath: socketPath)
    }

    package static func synchronize(within patience: Duration, socketPath: String) async -> Bool {
        guard unanswered.count < unansweredLimit else { return false }
        do throws(SystemError) {
            let connection = DescriptorHolder(try SocketAddress.unix(path: socketPath).connected(SOCK_STREAM))
            // The socket's buffer is empty and has space for the request.
            guard try connection.descriptor.send(request, from: 0) == request.count else { return false }
            await IOWatch.wait(for: connection.descriptor, .readable, atMost: patience)
            var answer = [UInt8](repeating: 0, count: 256)
            switch try connection.descriptor.receive(into: &answer) {
            case .bytes(let count):
                // An error reply has a member of that name.
                let error = Array("\"error\"".utf8)
                // Byte by byte: String.contains would link Swift's whole pattern matching into the program.
                return !(0..<count).contains { answer[$0..<count].starts(with: error) }
            case .endOfStream: return false
            case .wouldBlock:
                try keepOpen(connection)
                return false
            }
        } catch {
            return false
        }
    }

    /// Keeps a connection open until the answer arrives, or journald closes it.
    private static func keepOpen(_ connection: DescriptorHolder) throws(SystemError) {
        let kept = Unanswered(connection)
        let key = ObjectIdentifier(kept)
        kept.watch = try IOWatch(connection.descriptor, .readable) { _ in
            // The watch is removed before its descriptor is closed.
            unanswered[key]?.watch = nil
            unanswered[key] = nil
        }
        unanswered[key] = kept
    }
}
