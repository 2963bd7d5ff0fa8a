import Systemd
import TestSupport

/// The other end of a connection: sends bytes and takes responses apart.
@EventLoopActor
final class Client {
    /// A response as it came.
    struct Reply: Equatable {
        var head: String
        var body: [UInt8]

        var text: String { String(decoding: body, as: UTF8.self) }

        /// The status code and the reason.
        var status: String {
            let line = head.prefix { $0 != "\r\n" }
            return String(line.drop { $0 != " " }.dropFirst())
        }

        func field(_ name: String) -> String? {
            for line in head.split(separator: "\r\n").dropFirst() where line.hasPrefix(name + ": ") {
                return String(line.dropFirst(name.count + 2))
            }
            return nil
        }
    }

    /// A descriptor that can be let go of.
    private final class Socket {
        let descriptor: FileDescriptor

        init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }
    }

    private var socket: Socket?
    private var watch: IOWatch?
    private let changes = Arrivals<Void>()
    private let chunkBytes: Int
    private(set) var received: [UInt8] = []
    private(set) var hasEnded = false

    /// `chunkBytes` is how much is read at a time; a client that does not read leaves everything in the kernel.
    init(_ descriptor: consuming FileDescriptor, reads: Bool = true, chunkBytes: Int = 64 * 1024) throws {
        socket = Socket(descriptor)
        self.chunkBytes = chunkBytes
        if reads { try startReading() }
    }

    isolated deinit { close() }

    func startReading() throws {
        guard let socket else { return }
        watch = try IOWatch(socket.descriptor, .readable) { [weak self] _ in self?.read() }
    }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: chunkBytes)
        switch try? socket?.descriptor.receive(into: &buffer) {
        case .bytes(let count): received += buffer[..<count]
        case .wouldBlock: return
        case .endOfStream, nil:
            hasEnded = true
            watch = nil
        }
        changes.add(())
    }

    /// Sends all of it; the kernel must have room.
    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            guard let count = try socket?.descriptor.send(bytes, from: sent), count > 0 else {
                throw NoRoom(sent: sent)
            }
            sent += count
        }
    }

    /// The kernel takes no more.
    struct NoRoom: Error { let sent: Int }

    /// Sends nothing more and goes on reading.
    func finishSending() { socket?.descriptor.shutdownSending() }

    /// Goes away.
    func close() {
        watch = nil
        socket = nil
    }

    /// The next response. One to HEAD has no body whatever its length says, an interim one has none either.
    func reply(isToHEAD: Bool = false) async throws -> Reply {
        while true {
            if let reply = takeReply(isToHEAD: isToHEAD) { return reply }
            guard !hasEnded else { throw Ended(received: String(decoding: received, as: UTF8.self)) }
            try await changes.next()
        }
    }

    /// The connection has ended in place of a response.
    struct Ended: Error { let received: String }

    /// The next bytes, so many of them, as text.
    func bytes(_ count: Int) async throws -> String {
        while received.count < count {
            guard !hasEnded else { throw Ended(received: String(decoding: received, as: UTF8.self)) }
            try await changes.next()
        }
        defer { received.removeFirst(count) }
        return String(decoding: received[..<count], as: UTF8.self)
    }

    /// Reads what the kernel holds at this moment, and says how much that was.
    func readOnce() throws -> Int {
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        let before = received.count
        while case .bytes(let count) = try socket?.descriptor.receive(into: &buffer) { received += buffer[..<count] }
        return received.count - before
    }

    /// Waits for the end and gives back what came before it.
    func end() async throws -> String {
        while !hasEnded { try await changes.next() }
        return String(decoding: received, as: UTF8.self)
    }

    private func takeReply(isToHEAD: Bool) -> Reply? {
        let end = Array("\r\n\r\n".utf8)
        guard let split = received.indices.first(where: { received[$0...].starts(with: end) }) else { return nil }
        var reply = Reply(head: String(decoding: received[..<split], as: UTF8.self), body: [])
        let count = isToHEAD ? 0 : Int(reply.field("Content-Length") ?? "0") ?? 0
        let start = split + end.count
        guard received.count >= start + count else { return nil }
        reply.body = Array(received[start..<(start + count)])
        received.removeFirst(start + count)
        return reply
    }
}
