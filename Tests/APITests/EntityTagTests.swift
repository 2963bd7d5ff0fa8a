import HTTP
import JSON
import Services
import Synchronization
import Testing

@testable import API

/// ETag, If-None-Match and If-Match: RFC 9110 §8.8.3 and §13.1.
struct EntityTagTests {
    private let client = Client()

    private func tag(_ path: String = "/v1/services/web") async throws -> String {
        try #require(try await client.send(.get, path)["ETag"])
    }

    private func change(_ change: (inout ServiceRecord) -> Void) {
        client.control.state.withLock { state in
            guard let service = state.services.first else { return }
            var record = service.record
            change(&record)
            state.services = [Service(record: record, state: service.state, intent: service.intent)]
        }
    }

    @Test(arguments: ["/v1/services/web", "/v1/services", "/v1/services?status=running", "/v1/services/web?usage=true"])
    func `what has not changed is a 304 without content`(path: String) async throws {
        let tag = try await tag(path)
        #expect(tag.wholeMatch(of: #/"[0-9a-f]{16}\.[0-9a-f]{16}"/#) != nil)
        for known in [tag, "W/\(tag)", "\"a\", \(tag)", "*", "\"a\",\(tag) , \"b\""] {
            let reply = try await client.send(.get, path, fields: ["If-None-Match": known])
            #expect((reply.status, reply.text) == (304, ""), "\(known)")
            #expect(reply["ETag"] == tag)
        }
        for other in ["\"a\"", "", String(tag.dropLast(2)) + "x\""] {
            #expect(try await client.send(.get, path, fields: ["If-None-Match": other]).status == 200, "\(other)")
        }
        change { $0.run.restarts += 1 }
        #expect(try await client.send(.get, path, fields: ["If-None-Match": tag]).status == 200)
    }

    @Test func `the first part is the spec's alone`() async throws {
        let before = try await tag().split(separator: ".")
        change { $0.run.restarts += 1 }
        let after = try await tag().split(separator: ".")
        #expect(before[0] == after[0])
        #expect(before[1] != after[1])
        change { record in
            var draft = SpecDraft(record.spec)
            draft["labels"] = ["a": "b"]
            if let spec = try? draft.validated(defaults: SpecDraft.Defaults(user: "user")) { record.spec = spec }
        }
        #expect(try await tag().split(separator: ".")[0] != before[0])
    }

    @Test func `a reader without the environment gets another tag`() async throws {
        let reader = String(repeating: "r", count: 32)
        let client = Client(identities: ["read": reader])
        let fields: Fields = ["Authorization": "Bearer \(reader)"]
        let hidden = try await client.send(.get, "/v1/services/web", from: .tcp(address: "10.0.0.1:5"), fields: fields)
        let shown = try await client.send(.get, "/v1/services/web")
        #expect(hidden["ETag"]?.split(separator: ".")[0] != shown["ETag"]?.split(separator: ".")[0])
        // It is the same whatever the values are.
        client.control.state.withLock { state in
            var draft = SpecDraft(Samples.running.record.spec)
            draft["env"] = ["A": "other", "B": "values"]
            guard let spec = try? draft.validated(defaults: SpecDraft.Defaults(user: "user")) else { return }
            var record = Samples.running.record
            record.spec = spec
            let before = Samples.running
            state.services = [Service(record: record, state: before.state, intent: before.intent)]
        }
        for path in ["/v1/services/web", "/v1/services"] {
            let again = try await client.send(.get, path, from: .tcp(address: "10.0.0.1:5"), fields: fields)
            if path.hasSuffix("web") { #expect(again["ETag"] == hidden["ETag"]) }
            #expect(!again.text.contains("other"))
        }
    }

    @Test(arguments: [HTTP.Method.put, .patch, .delete])
    func `a change is made of the spec that is meant`(method: HTTP.Method) async throws {
        let body = method == .delete ? "" : #"{"command":"other"}"#
        let tag = try await tag()
        // Another state is no other spec.
        change { $0.run.restarts += 1 }
        for given in [tag, "\"x.y\", \(tag)", "*"] {
            let reply = try await client.send(method, "/v1/services/web", body, fields: ["If-Match": given])
            #expect(reply.status == 200, "\(given)")
        }
        client.control.state.withLock { $0.specs = [] }
        for given in ["\"0123456789abcdef.0123456789abcdef\"", "", "\"\""] {
            let reply = try await client.send(method, "/v1/services/web", body, fields: ["If-Match": given])
            #expect(reply.status == 412, "\(given)")
            #expect(try reply.code == "PRECONDITION_FAILED")
        }
        if method != .delete {
            let other = ["If-Match": "\"0123456789abcdef.0\""] as Fields
            let dry = try await client.send(method, "/v1/services/web?dry_run=true", body, fields: other)
            #expect(dry.status == 412)
        }
        #expect(client.control.specs.isEmpty)
    }

    @Test func `a service that is not there is not what is meant`() async throws {
        client.control.fail(with: .serviceNotFound)
        let put = try await client.send(.put, "/v1/services/new", #"{"command":"x"}"#, fields: ["If-Match": "*"])
        #expect(put.status == 412)
        let dry = try await client.send(
            .put,
            "/v1/services/new?dry_run=true",
            #"{"command":"x"}"#,
            fields: ["If-Match": "*"]
        )
        #expect(dry.status == 412)
        #expect(try dry.code == "PRECONDITION_FAILED")
    }
}
