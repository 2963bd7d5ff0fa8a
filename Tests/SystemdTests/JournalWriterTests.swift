import TestSupport
import Testing

@testable import Systemd

@Suite(.onEventLoop, .serialized, .hangLimit)
struct JournalWriterTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.path + "/journal" }

    init() throws { directory = try TemporaryDirectory() }

    /// What an entry with only a message looks like.
    private func entry(_ message: String, priority: Int = 6) -> String { "MESSAGE=\(message)\nPRIORITY=\(priority)\n" }

    private func text(_ bytes: [UInt8]?) -> String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

    /// The next entry, waited for.
    @EventLoopActor
    private func next(_ journal: DatagramReceiver) async throws -> String {
        try #require(try await text(journal.wait()))
    }

    /// Sends 600 numbered entries, far more than the kernel takes and far fewer than may wait; says how many it has
    /// taken, which are read.
    @EventLoopActor
    private func fill(_ writer: JournalWriter, _ journal: DatagramReceiver) throws -> Int {
        for number in 0..<600 { writer.send(.info, "\(number)", []) }
        var count = 0
        while let bytes = try journal.next() {
            try #require(text(bytes) == entry("\(count)"))
            count += 1
        }
        return count
    }

    // MARK: The protocol

    @Test @EventLoopActor func `an entry has its fields in order`() throws {
        let journal = try DatagramReceiver(path)
        let writer = JournalWriter(socketPath: path)
        writer.send(.warning, "hello = world", [("SERVICE", "web"), ("EMPTY", ""), ("TEXT", "é\t\"x\"\r")])
        #expect(
            try text(journal.next())
                == "MESSAGE=hello = world\nPRIORITY=4\nSERVICE=web\nEMPTY=\nTEXT=é\t\"x\"\r\n"
        )
        #expect(try journal.next() == nil)
    }

    @Test(arguments: ["two\nlines", "\n", "end\n", String(repeating: "é\n", count: 200)]) @EventLoopActor
    func `a value of several lines has its length before it`(value: String) throws {
        let journal = try DatagramReceiver(path)
        let writer = JournalWriter(socketPath: path)
        writer.send(.info, value, [("NEXT", "x")])
        let length = value.utf8.count
        var expected = Array("MESSAGE\n".utf8)
        expected += [UInt8(length % 256), UInt8(length / 256), 0, 0, 0, 0, 0, 0]
        expected += Array(value.utf8)
        expected += Array("\nPRIORITY=6\nNEXT=x\n".utf8)
        #expect(try journal.next() == expected)
    }

    @Test(
        arguments: [
            (.error, 3, "error"), (.warning, 4, "warning"), (.notice, 5, "notice"), (.info, 6, "info"),
            (.debug, 7, "debug"),
        ] as [(JournalWriter.Priority, Int, String)]
    )
    @EventLoopActor
    func `a priority has syslog's number and a name`(
        priority: JournalWriter.Priority,
        number: Int,
        name: String
    ) throws {
        let journal = try DatagramReceiver(path)
        JournalWriter(socketPath: path).send(priority, "x", [])
        #expect(try text(journal.next()) == entry("x", priority: number))
        #expect(JournalWriter.Priority(name: name) == priority)
        #expect(JournalWriter.Priority(name: name.uppercased()) == nil)
    }

    // MARK: A journald that does not read

    @Test @EventLoopActor func `entries that have to wait arrive in order when there is room again`() async throws {
        let journal = try DatagramReceiver(path)
        let writer = JournalWriter(socketPath: path)
        let count = try fill(writer, journal)
        #expect((1..<600).contains(count))
        for number in count..<600 { #expect(try await next(journal) == entry("\(number)")) }
        try await turnLoop()
        #expect(try journal.next() == nil)
        writer.send(.info, "after", [])
        #expect(try text(journal.next()) == entry("after"))
    }

    @Test(arguments: [0, 1, 7]) @EventLoopActor
    func `as many entries wait as may, and what is lost after that is counted`(lost: Int) async throws {
        let journal = try DatagramReceiver(path)
        let writer = JournalWriter(socketPath: path)
        // The kernel's own room, which the first of these find; it is full again before any is read.
        var sent = 600
        for number in 0..<sent { writer.send(.info, "\(number)", []) }
        let inKernel = try kernelRoom()
        while sent < inKernel + JournalWriter.waitingLimit + lost {
            writer.send(.info, "\(sent)", [])
            sent += 1
        }
        for number in 0..<(sent - lost) { #expect(try await next(journal) == entry("\(number)")) }
        if lost > 0 {
            #expect(
                try await next(journal)
                    == entry("\(lost) log entries were lost: journald did not take them", priority: 4)
                    + "SYSLOG_IDENTIFIER=miosa-agent\n"
            )
        }
        // The loss is told once.
        writer.send(.info, "after", [])
        #expect(try await next(journal) == entry("after"))
        try await turnLoop()
        #expect(try journal.next() == nil)
    }

    /// How many entries a socket takes that nobody reads.
    @EventLoopActor
    private func kernelRoom() throws -> Int {
        let other = try DatagramReceiver(path + "-other")
        return try fill(JournalWriter(socketPath: path + "-other"), other)
    }

    @Test @EventLoopActor func `a writer that goes leaves what waits behind, and nothing else`() async throws {
        let journal = try DatagramReceiver(path)
        var writer: JournalWriter? = JournalWriter(socketPath: path)
        let count = try fill(try #require(writer), journal)
        writer = nil
        try await turnLoop()
        #expect(count > 0)
        #expect(try journal.next() == nil)
    }

    // MARK: A journald that is made anew

    @Test @EventLoopActor func `a socket that was made anew is found`() throws {
        var journal: DatagramReceiver? = try DatagramReceiver(path)
        let writer = JournalWriter(socketPath: path)
        writer.send(.info, "1", [])
        #expect(try text(journal?.next()) == entry("1"))
        journal?.unlinkPath()
        journal = nil
        let next = try DatagramReceiver(path)
        for number in 2..<5 {
            writer.send(.info, "\(number)", [])
            #expect(try text(next.next()) == entry("\(number)"))
        }
    }

    @Test @EventLoopActor func `what is written while there is no journald is lost, and nothing waits for it`()
        async throws
    {
        let writer = JournalWriter(socketPath: path)
        for number in 0..<2000 { writer.send(.error, "\(number)", []) }
        try await turnLoop()
        var journal: DatagramReceiver? = try DatagramReceiver(path)
        writer.send(.info, "1", [])
        #expect(try text(journal?.next()) == entry("1"))
        #expect(try journal?.next() == nil)
        // The name is there, and nobody behind it.
        journal = nil
        for number in 0..<2000 { writer.send(.error, "\(number)", []) }
        try DatagramReceiver.removeStale(path)
        let next = try DatagramReceiver(path)
        writer.send(.info, "2", [])
        #expect(try text(next.next()) == entry("2"))
        #expect(try next.next() == nil)
    }

    @Test @EventLoopActor func `entries that wait for a journald that goes wait for the next one`() async throws {
        var journal: DatagramReceiver? = try DatagramReceiver(path)
        let writer = JournalWriter(socketPath: path)
        let count = try fill(writer, try #require(journal))
        journal?.unlinkPath()
        let next = try DatagramReceiver(path)
        // Its socket is as full as that of the one that goes.
        let others = JournalWriter(socketPath: path)
        for number in 0..<20 { others.send(.info, "other \(number)", []) }
        journal = nil
        // Nothing more is written: the writer has to notice by itself.
        var own: [String] = []
        while own.last != entry("599") {
            let text = try await self.next(next)
            if !text.contains("other") { own.append(text) }
        }
        #expect(own.elementsEqual((count..<600).map { entry("\($0)") }))
        withExtendedLifetime((writer, others)) {}
    }
}
