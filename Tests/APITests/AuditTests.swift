import HTTP
import JSON
import Services
import Synchronization
import Testing

@testable import API

struct AuditTests {
    private let client = Client(identities: ["control-plane": Client.token, "read": String(repeating: "r", count: 32)])
    private let reader: Fields = ["Authorization": "Bearer \(String(repeating: "r", count: 32))"]
    private let admin: Fields = ["Authorization": "Bearer \(Client.token)"]
    private let tcp = Caller.tcp(address: "10.0.0.1:5")
    private let body = #"{"name":"web","command":"x"}"#

    private func audit(_ query: String = "") async throws -> [JSONObject] {
        guard case .array(let entries) = try await client.send(.get, "/v1/audit\(query)").object["data"] else {
            return []
        }
        return entries.compactMap { entry in if case .object(let object) = entry { object } else { nil } }
    }

    @Test func `each route that changes something has an entry around its action`() async throws {
        for route in Routes.all where route.method != .get {
            let client = Client()
            let path = route.pattern.replacing("{computer}", with: "self").replacing("{ref}", with: "web").replacing(
                "{n}",
                with: "1"
            )
            let bodies = ["/signal": #"{"signal":"HUP"}"#, "/reload": ""]
            let other = bodies.first { path.hasSuffix($0.key) }?.value
            let reply = try await client.send(route.method, path, route.method == .delete ? "" : other ?? body)
            let calls = client.control.allCalls
            #expect(calls.count == 3, "\(calls)")
            let isUrgent = route.method == .delete || path.hasSuffix("/stop")
            #expect(calls.first == (isUrgent ? "audit, urgent" : "audit"), "\(route.method) \(path)")
            #expect(calls.last == "audit \(reply.status)")
            let entry = try #require(client.control.state.withLock { $0.audit.first })
            #expect(entry.method == route.method.rawValue)
            #expect(entry.path == path)
            #expect(entry.service == "web")
        }
    }

    @Test func `who it was is in the entry`() async throws {
        _ = try await client.send(.post, "/v1/services", body, from: tcp, fields: admin)
        _ = try await client.send(.post, "/v1/services", body, from: .unix(uid: 7, gid: 8, pid: 9, isAdmitted: true))
        _ = try await client.send(.post, "/v1/services", body, from: .vsock(contextID: 2, isHost: true), fields: admin)
        let entries = try await audit()
        let peers = entries.map { String(decoding: $0["peer"]?.encoded() ?? [], as: UTF8.self) }
        #expect(peers == [#"{"cid":2}"#, #"{"uid":7,"pid":9}"#, #"{"address":"10.0.0.1:5"}"#])
        #expect(entries.map { $0["identity"] } == [.string("control-plane"), .null, .string("control-plane")])
        #expect(entries.allSatisfy { $0["role"] == .string("admin") && $0["status"] == .number(JSONNumber(201)) })
        #expect(entries.allSatisfy { $0["at"] == .string("2026-01-31T12:00:00.000Z") })
    }

    @Test func `reads and refusals have no entry`() async throws {
        _ = try await client.send(.get, "/v1/services", from: tcp, fields: admin)
        for fields in [Fields(), reader] {
            #expect(try await client.send(.post, "/v1/services", body, from: tcp, fields: fields).status >= 401)
        }
        let stranger = Caller.unix(uid: 1, gid: 1, pid: 1, isAdmitted: false)
        #expect(try await client.send(.delete, "/v1/services/web", from: stranger).status == 403)
        #expect(try await client.send(.post, "/nowhere").status == 404)
        #expect(try await audit().isEmpty)
    }

    @Test func `only strangers are refused`() async throws {
        func isRefusal(_ path: String, _ caller: Caller, _ fields: Fields = Fields()) async throws -> Bool {
            try await client.send(.get, path, from: caller, fields: fields).reply.isRefusal
        }
        let root = Caller.unix(uid: 0, gid: 0, pid: 1, isAdmitted: true)
        #expect(try await isRefusal("/v1/services", tcp))
        #expect(try await isRefusal("/nowhere", tcp))
        #expect(try await isRefusal("/v1/services", .unix(uid: 1, gid: 1, pid: 1, isAdmitted: false)))
        #expect(try await !isRefusal("/v1/services", tcp, reader))
        #expect(try await !isRefusal("/nowhere", root))
        #expect(try await !isRefusal("/readyz", tcp))
        client.control.state.withLock { $0.outage = "no systemd" }
        #expect(try await isRefusal("/readyz", tcp))
        #expect(try await !isRefusal("/readyz", root))
    }

    @Test func `the query is passed on`() async throws {
        _ = try await audit()
        _ = try await audit("?since=1h&service=web&identity=uid:0&limit=1000")
        var query = AuditQuery()
        query.since = Timestamp(microseconds: Client.now.microseconds - 3_600_000_000)
        query.service = "web"
        query.identity = "uid:0"
        query.limit = 1000
        #expect(client.control.state.withLock { $0.auditQueries } == [AuditQuery(), query])
    }

    @Test(arguments: ["limit=0", "limit=1001", "limit=", "limit=+1", "limit=1.0", "since=x", "since=", "user=1"])
    func `a bad query is refused`(query: String) async throws {
        let reply = try await client.send(.get, "/v1/audit?\(query)")
        #expect(reply.status == 400)
        #expect(reply.text.contains("'\(query.prefix { $0 != "=" })'"))
    }

    @Test func `a person gets a table`() async throws {
        _ = try await client.send(.post, "/v1/services", body, from: .unix(uid: 7, gid: 8, pid: 9, isAdmitted: true))
        let text = try await client.send(.get, "/v1/audit", fields: ["Accept": "text/plain"]).text
        #expect(
            text == """
                AT                        WHO  FROM          STATUS  SERVICE  REQUEST
                2026-01-31T12:00:00.000Z  -    uid 7, pid 9  201     web      POST /v1/services

                """
        )
    }

    @Test func `an error of the disk is told`() async throws {
        client.control.fail(with: .storageTimeout("pread"))
        let reply = try await client.send(.get, "/v1/audit")
        #expect(reply.status == 504)
        #expect(try reply.code == "STORAGE_TIMEOUT")
    }
}
