internal import CSystemd
internal import Glibc

/// A barrier in the journal.
@EventLoopActor
public enum JournalSync {
    /// journald's own varlink socket: systemd-journald.service(8), and what `journalctl --sync` uses.
    private static let socketPath = "/run/systemd/journal/io.systemd.journal"
    /// A varlink message is JSON with a NUL at its end.
    private static let request = Array("{\"method\":\"io.systemd.Journal.Synchronize\"}".utf8) + [0]

    /// The connections whose answer came too late to be waited for. They stay open until it comes: journald 247 is busy
    /// for ever once a client has closed its connection before the answer.
    private static var unanswered: [ObjectIdentifier: Unanswered] = [:]
    /// The limit of open connections without an answer. At the limit journald is not asked again.
    package static let unansweredLimit = 16

    private final class Unanswered {
        let connection: DescriptorHolder
        var watch: IOWatch?

        init(_ connection: DescriptorHolder) { self.connection = connection }
    }

    /// Waits until journald has written down everything that was sent to it before now, or until the time is over.
    /// Without it the last lines of a process that has just died may still be on their way. False when journald did
    /// not answer.
    @discardableResult
    public static func synchronize(within patience: Duration) async -> Bool {
        await synchronize(within: patience, socketPath: socketPath)
    }

    package static func synchronize(within patience: Duration, socketPath: String) async -> Bool {
        guard unanswered.count < unansweredLimit else { return false }
        do throws(SystemError) {
            let connection = DescriptorHolder(try SocketAddress.unix(path: socketPath).connected(SOCK_STREAM))
            // The socket's buffer is empty, and has room for that.
            guard try connection.descriptor.send(request, from: 0) == request.count else { return false }
            await IOWatch.wait(for: connection.descriptor, .readable, atMost: patience)
            var answer = [UInt8](repeating: 0, count: 256)
            switch try connection.descriptor.receive(into: &answer) {
            case .bytes(let count):
                // An error is an answer, too, with a member of that name.
                let error = Array("\"error\"".utf8)
                // Byte by byte: text that looks for text would bring all of Swift's pattern matching into the program.
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

    /// Keeps a connection until there is an answer, or journald has closed it.
    private static func keepOpen(_ connection: DescriptorHolder) throws(SystemError) {
        let kept = Unanswered(connection)
        let key = ObjectIdentifier(kept)
        kept.watch = try IOWatch(connection.descriptor, .readable) { _ in
            // The watch goes before its descriptor is closed.
            unanswered[key]?.watch = nil
            unanswered[key] = nil
        }
        unanswered[key] = kept
    }
}
