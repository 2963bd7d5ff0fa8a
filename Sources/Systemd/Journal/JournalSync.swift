internal import CSystemd
internal import Glibc

/// A barrier in the journal.
@EventLoopActor
public enum JournalSync {
    /// journald's own varlink socket: systemd-journald.service(8), and what `journalctl --sync` uses.
    private static let socketPath = "/run/systemd/journal/io.systemd.journal"
    /// A varlink message is JSON with a NUL at its end.
    private static let request = Array("{\"method\":\"io.systemd.Journal.Synchronize\"}".utf8) + [0]

    /// Waits until journald has written down everything that was sent to it before now, or until the time is over.
    /// Without it the last lines of a process that has just died may still be on their way. False when journald did
    /// not answer.
    @discardableResult
    public static func synchronize(within patience: Duration) async -> Bool {
        await synchronize(within: patience, socketPath: socketPath)
    }

    package static func synchronize(within patience: Duration, socketPath: String) async -> Bool {
        do throws(SystemError) {
            let descriptor = try SocketAddress.unix(path: socketPath).connected(SOCK_STREAM)
            // The socket's buffer is empty, and has room for that.
            guard try descriptor.send(request, from: 0) == request.count else { return false }
            await IOWatch.wait(for: descriptor, .readable, atMost: patience)
            var answer = [UInt8](repeating: 0, count: 256)
            guard case .bytes(let count) = try descriptor.receive(into: &answer) else { return false }
            // An error is an answer, too, with a member of that name.
            let error = Array("\"error\"".utf8)
            // Byte by byte: text that looks for text would bring all of Swift's pattern matching into the program.
            return !(0..<count).contains { answer[$0..<count].starts(with: error) }
        } catch {
            return false
        }
    }
}
