import Foundation
import JSON
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

@Suite(.onEventLoop)
struct IdempotencyStoreTests {
    private let directory: TemporaryDirectory
    private let layout: StateLayout
    private let services: Services

    /// The names of the services that there are.
    @EventLoopActor private final class Services {
        var all = ["web"]

        func remove() { all = [] }
    }

    @EventLoopActor init() throws {
        directory = try TemporaryDirectory()
        layout = StateLayout(stateDirectory: directory.path, unitDirectory: directory.path)
        services = Services()
    }

    @EventLoopActor private func store() throws -> IdempotencyStore {
        let store = IdempotencyStore(layout) { [services] in services.all.contains($0) }
        try store.prepare()
        return store
    }

    private func answer(_ text: String, status: Int = 201) -> KeptAnswer {
        KeptAnswer(status: status, location: "/v1/services/web", body: Array(text.utf8), service: "web")
    }

    private var files: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: directory.path + "/answers") }
    }

    @Test @EventLoopActor func `the first answer is given again, by another process too`() async throws {
        let first = answer("one")
        let store = try store()
        #expect(try await store.once("key", of: nil, fingerprint: "f") { _ in first } == first)
        let second = answer("two")
        #expect(try await store.once("key", of: nil, fingerprint: "f") { _ in second } == first)
        #expect(try await self.store().once("key", of: nil, fingerprint: "f") { _ in second } == first)
    }

    @Test @EventLoopActor func `each account has its own keys, and displaces the answers of no other`() async throws {
        let store = try store()
        let texts: [UInt32?: KeptAnswer] = [nil: answer("root"), 1000: answer("alice"), 1001: answer("bob")]
        for (uid, text) in texts {
            #expect(try await store.once("key", of: uid, fingerprint: "\(text)") { _ in text } == text)
        }
        let filler = answer("filler")
        for number in 2...Account.answersLimit {
            _ = try await store.once("\(number)", of: 1000, fingerprint: "f") { _ in filler }
        }
        let other = answer("other")
        #expect(try await store.once("key", of: 1000, fingerprint: "\(answer("alice"))") { _ in other } != other)
        _ = try await store.once("one more", of: 1000, fingerprint: "f") { _ in filler }
        for again in [store, try self.store()] {
            for uid in [UInt32?.none, 1001] {
                let text = try #require(texts[uid])
                #expect(try await again.once("key", of: uid, fingerprint: "\(text)") { _ in other } == text)
            }
        }
        #expect(try await store.once("key", of: 1000, fingerprint: "\(answer("alice"))") { _ in other } == other)
    }

    @Test @EventLoopActor func `another request with the key is refused`() async throws {
        let first = answer("one")
        let store = try store()
        _ = try await store.once("key", of: nil, fingerprint: "f") { _ in first }
        await #expect(throws: ControlError.keyReused) {
            try await store.once("key", of: nil, fingerprint: "g") { _ in first }
        }
    }

    @Test(arguments: [500, 503, 507, 429])
    @EventLoopActor func `an answer that is worth another try is not kept`(status: Int) async throws {
        let failure = answer("no", status: status)
        let success = answer("yes")
        let store = try store()
        _ = try await store.once("key", of: nil, fingerprint: "f") { _ in failure }
        #expect(try await store.once("key", of: nil, fingerprint: "f") { _ in success } == success)
    }

    @Test @EventLoopActor func `a request without a final answer is carried on, by another process too`() async throws {
        let failure = answer("later", status: 504)
        let success = answer("yes")
        let begun = Arrivals<Timestamp?>()
        let store = try store()
        for number in 0..<3 {
            let asked = number < 2 ? store : try self.store()
            _ = try await asked.once("key", of: nil, fingerprint: "f") { begunAt in
                await begun.add(begunAt)
                return failure
            }
        }
        #expect(begun.all[0] == nil)
        #expect(begun.all[1] != nil && begun.all[1] == begun.all[2])
        await #expect(throws: ControlError.keyReused) {
            try await store.once("key", of: nil, fingerprint: "g") { _ in success }
        }
        #expect(try await store.once("key", of: nil, fingerprint: "f") { _ in success } == success)
        #expect(try await store.once("key", of: nil, fingerprint: "f") { _ in failure } == success)
    }

    @Test @EventLoopActor func `answers are for root alone`() async throws {
        let first = answer("one")
        _ = try await store().once("key", of: nil, fingerprint: "f") { _ in first }
        let path = try directory.path + "/answers/" + #require(try files.first)
        #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
    }

    @Test @EventLoopActor func `the newest thousand are kept`() async throws {
        let store = try store()
        let first = answer("one")
        for number in 0...KeptAnswer.countLimit {
            _ = try await store.once("key-\(number)", of: nil, fingerprint: "f") { _ in first }
        }
        #expect(try files.count == KeptAnswer.countLimit)
        let second = answer("two")
        #expect(try await store.once("key-0", of: nil, fingerprint: "f") { _ in second } == second)
        #expect(
            try await store.once("key-\(KeptAnswer.countLimit)", of: nil, fingerprint: "f") { _ in second } == first
        )
    }

    @Test @EventLoopActor func `an answer is dropped after a day`() async throws {
        let first = answer("one")
        _ = try await store().once("key", of: nil, fingerprint: "f") { _ in first }
        let path = try directory.path + "/answers/" + #require(try files.first)
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let kept = try #require(try text.firstMatch(of: Regex(#""kept_at":(\d+)"#))?.output[1].substring)
        let day = KeptAnswer.lifetimeSeconds * 1_000_000
        let old = try #require(Int64(kept)) - day
        try text.replacing(kept, with: String(old)).write(toFile: path, atomically: true, encoding: .utf8)
        let second = answer("two")
        #expect(try await store().once("key", of: nil, fingerprint: "f") { _ in second } == second)
    }

    private static let object = #"{"data":{"name":"web","env":{"A":"secret","B":""},"message":null}}"#
    private static let hidden = #"{"data":{"name":"web","env":{"A":"(hidden)","B":"(hidden)"},"message":null}}"# + "\n"

    private func isOnDisk(_ text: String) throws -> Bool {
        try files.contains { file in
            try String(contentsOfFile: directory.path + "/answers/" + file, encoding: .utf8).contains(text)
        }
    }

    @Test @EventLoopActor func `values of a service that is deleted leave the disk, and the answer stays`() async throws
    {
        let first = answer(Self.object)
        let store = try store()
        _ = try await store.once("key", of: nil, fingerprint: "f") { _ in first }
        #expect(try isOnDisk("secret"))
        services.all = []
        store.hideValues(of: "another")
        store.hideValues(of: "web")
        #expect(try await eventually { (try? self.isOnDisk("secret")) == false })
        for store in [store, try self.store()] {
            let again = try await store.once("key", of: nil, fingerprint: "f") { _ in first }
            #expect(again == answer(Self.hidden))
        }
    }

    @Test @EventLoopActor func `values that an interrupted deletion left go at the next start`() async throws {
        let first = answer(Self.object)
        _ = try await store().once("key", of: nil, fingerprint: "f") { _ in first }
        services.all = []
        _ = try store()
        #expect(try await eventually { (try? self.isOnDisk("secret")) == false })
    }

    @Test @EventLoopActor func `an answer about a service that is gone by then is kept without values`() async throws {
        let first = answer(Self.object)
        let store = try store()
        _ = try await store.once("key", of: nil, fingerprint: "f") { [services] _ in
            await services.remove()
            return first
        }
        #expect(try !isOnDisk("secret"))
        #expect(try await store.once("key", of: nil, fingerprint: "f") { _ in first } == answer(Self.hidden))
    }

    @Test @EventLoopActor func `a file that is no answer is removed`() async throws {
        _ = try store()
        try "{".write(toFile: directory.path + "/answers/x.json", atomically: true, encoding: .utf8)
        _ = try store()
        #expect(try files.isEmpty)
    }
}

@Suite(.onEventLoop)
struct RemovedStoreTests {
    private let directory: TemporaryDirectory
    private let layout: StateLayout

    init() throws {
        directory = try TemporaryDirectory()
        layout = StateLayout(stateDirectory: directory.path, unitDirectory: directory.path)
    }

    private func removed(_ number: Int, _ name: String? = nil) throws -> RemovedService {
        var draft = SpecDraft()
        draft["name"] = .string(name ?? "s\(number)")
        draft["command"] = "true"
        draft["env"] = ["SECRET": "hunter2"]
        let spec = try draft.validated(defaults: SpecDraft.Defaults(user: "user"))
        let time = Timestamp(microseconds: Int64(number))
        let record = ServiceRecord(id: "id-\(number)", spec: spec, createdAt: time)
        return RemovedService(
            record,
            removedAt: time,
            removedBy: Requester(uid: number % 2 == 0 ? 7 : nil, requestID: "r-\(number)")
        )
    }

    @Test @EventLoopActor func `what was written is read again, the newest first`() async throws {
        let store = RemovedStore(layout)
        try store.prepare()
        let all = try (1...3).map { try removed($0) }
        for one in all { try store.add(one) }
        #expect(try await store.load() == all.reversed())
        let again = RemovedStore(layout)
        try again.prepare()
        #expect(try await again.load() == all.reversed())
    }

    @Test @EventLoopActor func `the environment is not kept`() async throws {
        #expect(try removed(1).record.spec.environment.isEmpty)
    }

    @Test @EventLoopActor func `the newest are kept up to the limit and one more drops the oldest`() async throws {
        let store = RemovedStore(layout)
        try store.prepare()
        for number in 1...RemovedService.countLimit { try store.add(try removed(number)) }
        #expect(try await store.load().count == RemovedService.countLimit)
        try store.add(try removed(RemovedService.countLimit + 1))
        let kept = try await store.load()
        #expect(kept.count == RemovedService.countLimit)
        #expect(kept.last?.record.id == "id-2")
    }

    @Test @EventLoopActor func `an account displaces the records of no other`() async throws {
        let store = RemovedStore(layout)
        try store.prepare()
        try store.add(try removed(1))
        try store.add(try removed(2, "web.1001"))
        for number in 3..<3 + Account.removedLimit { try store.add(try removed(number, "web.1000")) }
        #expect(try await store.load().count == Account.removedLimit + 2)
        try store.add(try removed(1000, "web.1000"))
        for store in [store, RemovedStore(layout)] {
            try store.prepare()
            let ids = try await store.load().map(\.record.id)
            #expect(ids.count == Account.removedLimit + 2)
            #expect(ids.suffix(3) == ["id-4", "id-2", "id-1"])
        }
    }

    @Test @EventLoopActor func `a deletion that is finished a second time is one deletion`() async throws {
        let store = RemovedStore(layout)
        try store.prepare()
        try store.add(try removed(1))
        try store.add(try removed(1))
        #expect(try await store.load().count == 1)
    }

    @Test @EventLoopActor func `one is found by its id, also in what an earlier agent has written`() async throws {
        let store = RemovedStore(layout)
        try store.prepare()
        let all = try (1...3).map { try removed($0) }
        for one in all { try store.add(one) }
        try Data("{".utf8).write(to: URL(filePath: layout.removedDirectory + "/00000000000000000001-bad.json"))
        let again = RemovedStore(layout)
        try again.prepare()
        for store in [store, again] {
            for one in all { #expect(try await store.find(one.record.id)?.removed == one) }
            #expect(try await store.find("another") == nil)
        }
    }

    @Test @EventLoopActor func `without room the service's own record is kept, and written anew with some`()
        async throws
    {
        let records = RecordStore(layout)
        try records.prepare()
        let store = RemovedStore(layout)
        try store.prepare()
        let one = try removed(1)
        try records.save(one.record)
        try records.mark(one.record.spec.name, .deleting)
        try store.add(one, movedFrom: records)
        #expect(store.hasMissing)
        #expect(try records.load().records.isEmpty)
        #expect(try await store.load() == [one])
        // An agent that starts before there is room does not know who has removed it.
        let next = RemovedStore(layout)
        try next.prepare()
        #expect(try await next.find(one.record.id)?.removed.record.id == one.record.id)
        try store.writeMissing()
        #expect(!store.hasMissing)
        let later = RemovedStore(layout)
        try later.prepare()
        #expect(try await later.load() == [one])
    }
}
