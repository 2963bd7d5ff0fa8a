import Foundation
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

@Suite(.onEventLoop)
struct AuditLogTests {
    private static let capacity = Audit.fileBytes / AuditLog.entryBytes

    private let directory: TemporaryDirectory
    private let layout: StateLayout
    private let messages: Messages
    /// The shared one can be seconds behind: other tests use it as well.
    private let disk: Disk

    @EventLoopActor private final class Messages {
        var all: [String] = []
    }

    @EventLoopActor init() throws {
        directory = try TemporaryDirectory()
        layout = StateLayout(stateDirectory: directory.path, unitDirectory: directory.path)
        messages = Messages()
        disk = Disk()
    }

    @EventLoopActor private func audit() throws -> AuditLog {
        let audit = try AuditLog(
            layout,
            file: "audit",
            fileBytes: Audit.fileBytes,
            patience: patience,
            on: disk,
            report: { [messages] in messages.all.append($0.text) }
        )
        audit.prepare()
        return audit
    }

    private func entry(_ path: String, status: Int? = nil, peer: AuditEntry.Peer = .process(uid: 0, pid: 1))
        -> AuditEntry
    {
        AuditEntry(
            at: Timestamp(microseconds: 1_000_000),
            identity: "control-plane",
            role: "admin",
            peer: peer,
            requestID: "request",
            method: "POST",
            path: path,
            status: status
        )
    }

    @EventLoopActor private func add(_ paths: [String], to audit: AuditLog) async {
        for path in paths {
            let number = await audit.begin(entry(path), isUrgent: false)
            await audit.end(number, service: "web", status: 200, isUrgent: false)
        }
    }

    @EventLoopActor private func paths(_ audit: AuditLog, limit: Int = AuditQuery.limitLimit) async throws -> [String] {
        var query = AuditQuery()
        query.limit = limit
        return try await audit.read(query).map(\.path)
    }

    /// Writes the ring as an agent before this one has left it: a sequence number for each place, nil for nothing.
    private func write(_ sequences: [Int?]) throws {
        var bytes = [UInt8](repeating: UInt8(ascii: " "), count: Audit.fileBytes)
        for (place, sequence) in sequences.enumerated() {
            guard let sequence else { continue }
            let rest = #""at":1,"role":"admin","uid":0,"pid":1,"request":"r","method":"POST","path":"/\#(sequence)"}"#
            let line = Array(#"{"seq":\#(sequence),\#(rest)"#.utf8)
            let begin = place * AuditLog.entryBytes
            bytes.replaceSubrange(begin..<begin + line.count, with: line)
        }
        try Data(bytes).write(to: URL(fileURLWithPath: layout.stateDirectory + "/audit"))
    }

    @Test @EventLoopActor func `entries are read newest first, by another process too`() async throws {
        let audit = try audit()
        #expect(try await paths(audit) == [])
        await add(["/1", "/2", "/3"], to: audit)
        #expect(try await paths(audit) == ["/3", "/2", "/1"])
        #expect(try await paths(audit, limit: 2) == ["/3", "/2"])
        let next = try self.audit()
        #expect(try await paths(next) == ["/3", "/2", "/1"])
        await add(["/4"], to: next)
        #expect(try await paths(next, limit: 2) == ["/4", "/3"])
        #expect(try await paths(self.audit(), limit: 1) == ["/4"])
        #expect(messages.all.isEmpty)
    }

    @Test @EventLoopActor func `an entry is on disk before its answer, and keeps its place`() async throws {
        let audit = try audit()
        let first = await audit.begin(entry("/first"), isUrgent: false)
        await add(["/second"], to: audit)
        // The agent was killed here.
        let found = try await self.audit().read(AuditQuery())
        #expect(found.map(\.path) == ["/second", "/first"])
        #expect(found.map(\.status) == [200, nil])
        await audit.end(first, service: "db", status: 409, isUrgent: false)
        let ended = try await self.audit().read(AuditQuery())
        #expect(ended.map(\.status) == [200, 409])
        #expect(ended.map(\.service) == ["web", "db"])
    }

    @Test @EventLoopActor func `all of an entry comes back`() async throws {
        let audit = try audit()
        let peers: [AuditEntry.Peer] = [
            .process(uid: .max, pid: .max), .address("[fe80::1%eth0]:65535"), .machine(2), .machine(nil),
        ]
        for peer in peers {
            let number = await audit.begin(entry("/a \"b\" é", peer: peer), isUrgent: false)
            await audit.end(number, service: nil, status: 500, isUrgent: false)
        }
        let entries = try await self.audit().read(AuditQuery())
        #expect(entries == peers.reversed().map { entry("/a \"b\" é", status: 500, peer: $0) })
    }

    @Test @EventLoopActor func `a path that is too long is cut`() async throws {
        let audit = try audit()
        await add(["/" + String(repeating: "\u{1}é", count: 4000)], to: audit)
        let path = try #require(try await paths(self.audit()).first)
        #expect(path.hasPrefix("/\u{1}é"))
        #expect(path.hasSuffix("…"))
        #expect(path.utf8.count > 50)
    }

    @Test @EventLoopActor func `the oldest entry gives way`() async throws {
        try write((0..<Self.capacity).map { $0 })
        let audit = try audit()
        await add(["/new"], to: audit)
        let size = try FileManager.default.attributesOfItem(atPath: layout.stateDirectory + "/audit")[.size] as? Int
        #expect(size == Audit.fileBytes)
        #expect(try await paths(audit, limit: 2) == ["/new", "/\(Self.capacity - 1)"])
        let first = try FileHandle(forReadingFrom: URL(fileURLWithPath: layout.stateDirectory + "/audit"))
        let bytes = try #require(try first.read(upToCount: AuditLog.entryBytes))
        #expect(AuditCoding.decode(Array(bytes))?.path == "/new")
    }

    @Test(arguments: [0, 1, 127, 128, 8000, 16_383])
    @EventLoopActor func `the end of the ring is found in each round`(place: Int) async throws {
        let round = 3 * Self.capacity
        try write((0..<Self.capacity).map { $0 < place ? round + $0 : round - Self.capacity + $0 })
        let audit = try audit()
        await add(["/new"], to: audit)
        #expect(try await paths(audit, limit: 2) == ["/new", "/\(round + place - 1)"])
    }

    @Test(arguments: [0, 5, 120, 8000, 16_330])
    @EventLoopActor func `entries behind lost ones are not overwritten`(place: Int) async throws {
        // The file as after a power cut: pages with the entries from `place` on are lost, the next one is not.
        let round = 3 * Self.capacity
        var sequences: [Int?] = (0..<Self.capacity).map { $0 < place ? round + $0 : round - Self.capacity + $0 }
        let written = (place + 40..<place + 48).map { round + $0 }
        for sequence in written { sequences[sequence - round] = sequence }
        try write(sequences)
        let audit = try audit()
        await add(["/new"], to: audit)
        #expect(try await paths(audit, limit: 9) == ["/new"] + written.reversed().map { "/\($0)" })
    }

    @Test(arguments: [100, 5000, 16_300])
    @EventLoopActor func `lost and damaged entries of long ago hide no later ones`(count: Int) async throws {
        let round = 3 * Self.capacity
        var sequences: [Int?] = (0..<Self.capacity).map { $0 < count ? round + $0 : round - Self.capacity + $0 }
        // Half of each block, its first and its last ones among them.
        for place in 0..<count - 1 where place % 128 < 32 || place % 128 >= 96 { sequences[place] = nil }
        try write(sequences)
        let audit = try audit()
        await add(["/new"], to: audit)
        #expect(try await paths(audit, limit: 2) == ["/new", "/\(round + count - 1)"])
    }

    @Test @EventLoopActor func `what is no entry is passed over`() async throws {
        let audit = try audit()
        await add(["/1", "/2", "/3"], to: audit)
        let path = layout.stateDirectory + "/audit"
        let file = try #require(FileHandle(forUpdatingAtPath: path))
        try file.seek(toOffset: UInt64(AuditLog.entryBytes))
        try file.write(contentsOf: Data("{\"seq\":1,\"at\":\"x\"".utf8))
        #expect(try await paths(self.audit()) == ["/3", "/1"])
    }

    @Test @EventLoopActor func `a file that was removed is made again`() async throws {
        let audit = try audit()
        await add(["/1"], to: audit)
        try FileManager.default.removeItem(atPath: layout.stateDirectory + "/audit")
        await add(["/2"], to: audit)
        #expect(try await paths(audit) == ["/2"])
    }

    @Test @EventLoopActor func `what cannot be written is kept and written later`() async throws {
        let path = layout.stateDirectory + "/audit"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        let audit = try audit()
        await add(["/1", "/2"], to: audit)
        #expect(audit.unwrittenCount == 2)
        try FileManager.default.removeItem(atPath: path)
        await add(["/3"], to: audit)
        #expect(try await eventually { audit.unwrittenCount == 0 })
        #expect(try await paths(self.audit()) == ["/3", "/2", "/1"])
        #expect(messages.all.count == 2)
        #expect(messages.all.first?.hasPrefix("cannot read the audit: ") ?? false)
        #expect(messages.all.last == "the audit is written again")
    }

    @Test @EventLoopActor func `memory for what cannot be written is limited`() async throws {
        let path = layout.stateDirectory + "/audit"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        let audit = try audit()
        await add((0..<AuditLog.unwrittenLimit).map { "/\($0)" }, to: audit)
        #expect(audit.unwrittenCount == AuditLog.unwrittenLimit)
        #expect(audit.droppedCount == 0)
        await add(["/last"], to: audit)
        #expect(audit.unwrittenCount == AuditLog.unwrittenLimit)
        #expect(audit.droppedCount == 1)
        try FileManager.default.removeItem(atPath: path)
        audit.finish()
    }

    @Test @EventLoopActor func `entries are selected`() async throws {
        let audit = try audit()
        await add(["/1", "/2"], to: audit)
        func count(_ change: (inout AuditQuery) -> Void) async throws -> Int {
            var query = AuditQuery()
            change(&query)
            return try await audit.read(query).count
        }
        #expect(try await count { $0.service = "web" } == 2)
        #expect(try await count { $0.service = "we" } == 0)
        #expect(try await count { $0.identity = "control-plane" } == 2)
        #expect(try await count { $0.identity = "uid:0" } == 2)
        #expect(try await count { $0.identity = "uid:1" } == 0)
        #expect(try await count { $0.since = Timestamp(microseconds: 1_000_000) } == 2)
        #expect(try await count { $0.since = Timestamp(microseconds: 1_000_001) } == 0)
    }
}

@Suite(.onEventLoop, .serialized, .hangLimit)
struct AuditTests {
    private let directory: TemporaryDirectory
    private let layout: StateLayout
    private let disk: Disk

    @EventLoopActor init() throws {
        directory = try TemporaryDirectory()
        layout = StateLayout(stateDirectory: directory.path, unitDirectory: directory.path)
        disk = Disk()
    }

    @EventLoopActor private func add(_ path: String, _ role: String, at time: Int64, to audit: Audit) async {
        let entry = AuditEntry(
            at: Timestamp(microseconds: time),
            identity: nil,
            role: role,
            peer: .process(uid: 0, pid: 1),
            requestID: "r",
            method: "POST",
            path: path
        )
        let number = await audit.begin(entry, isUrgent: false)
        await audit.end(number, service: nil, status: 200, isUrgent: false)
    }

    @Test @EventLoopActor func `accounts have a ring of their own, and both are read by time`() async throws {
        let audit = try Audit(layout, patience: patience, on: disk) { _ in }
        audit.prepare()
        await add("/admin-1", "admin", at: 1, to: audit)
        #expect(!FileManager.default.fileExists(atPath: directory.path + "/audit-accounts"))
        for number in 1...3 { await add("/account-\(number)", "account", at: Int64(number) * 2, to: audit) }
        await add("/admin-2", "admin", at: 5, to: audit)
        // The clock was set back.
        await add("/admin-3", "admin", at: 3, to: audit)
        for audit in [audit, try Audit(layout, patience: patience, on: disk) { _ in }] {
            var query = AuditQuery()
            let paths = ["/account-3", "/account-2", "/admin-3", "/admin-2", "/account-1", "/admin-1"]
            for limit in 1...paths.count {
                query.limit = limit
                #expect(try await audit.read(query).map(\.path) == Array(paths.prefix(limit)), "\(limit)")
            }
        }
        let sizes = try ["audit", "audit-accounts"].map { file in
            try FileManager.default.attributesOfItem(atPath: directory.path + "/" + file)[.size] as? Int
        }
        #expect(sizes == [Audit.fileBytes, Audit.accountsFileBytes])
    }
}
