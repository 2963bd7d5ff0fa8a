import CSystemd
import Glibc

/// A barrier in the journal.
///
/// One question to journald is under way at a time. Calls that come meanwhile share the next one: the answer to the
/// first does not cover entries that were sent after it was asked.
@EventLoopActor
public final class JournalSync {
    /// journald's varlink socket: systemd-journald.service(8); `journalctl --sync` uses it.
    private static let shared = JournalSync(socketPath: "/run/systemd/journal/io.systemd.journal")
    /// A varlink message is JSON with a NUL at its end.
    private static let request = Array("{\"method\":\"io.systemd.Journal.Synchronize\"}".utf8) + [0]

    private let socketPath: String
    /// The question that journald has not answered. Its connection stays open until the answer arrives: journald 247
    /// loops forever when a client closes its connection before the answer.
    private var current: Question?
    /// The question that is asked when the current one is answered.
    private var next: Question?

    @EventLoopActor
    private final class Question {
        let answer = Promise<Bool>()
        var connection: DescriptorHolder?
        var watch: IOWatch?
    }

    package init(socketPath: String) { self.socketPath = socketPath }

    /// Waits until journald has written all entries that were sent to it before, at most for `patience`. Without it the
    /// last lines of a process that has just ended may be missing. False when journald did not answer.
    @discardableResult
    public static func synchronize(within patience: Duration) async -> Bool {
        await shared.synchronize(within: patience)
    }

    package func synchronize(within patience: Duration) async -> Bool {
        let question = next ?? Question()
        if current == nil { ask(question) } else { next = question }
        return await question.answer.wait(atMost: patience) ?? false
    }

    private func ask(_ question: Question) {
        do throws(SystemError) {
            let connection = DescriptorHolder(try SocketAddress.unix(path: socketPath).connected(SOCK_STREAM))
            // The socket's buffer is empty and has space for the request.
            guard try connection.descriptor.send(Self.request, from: 0) == Self.request.count else {
                return question.answer.fulfil(false)
            }
            question.connection = connection
            question.watch = try IOWatch(connection.descriptor, .readable) { [weak self] _ in self?.receive() }
            current = question
        } catch {
            question.answer.fulfil(false)
        }
    }

    private func receive() {
        guard let question = current else { return }
        question.answer.fulfil(question.connection.map(Self.isSuccess) ?? false)
        // The watch is removed before its descriptor is closed.
        question.watch = nil
        question.connection = nil
        current = nil
        guard let next else { return }
        self.next = nil
        ask(next)
    }

    /// Whether a readable connection has an answer, and that is no error.
    private static func isSuccess(_ connection: DescriptorHolder) -> Bool {
        var answer = [UInt8](repeating: 0, count: 256)
        guard case .bytes(let count)? = try? connection.descriptor.receive(into: &answer) else { return false }
        // An error reply has a member of that name.
        let error = Array("\"error\"".utf8)
        // Byte by byte: String.contains would link Swift's whole pattern matching into the program.
        return !(0..<count).contains { answer[$0..<count].starts(with: error) }
    }
}
