import HTTP
import Services
import Synchronization
import Testing

@testable import API

/// Reads that are answered from memory, and what is kept for the next one.
struct AtOnceTests {
    private func request(_ target: String, _ method: HTTP.Method = .get, _ fields: Fields = Fields()) throws -> Request
    {
        var fields = fields
        fields.append("Host", "localhost")
        let parsed = try RequestTarget(parsing: target, method: method)
        return Request(head: try RequestHead(method: method, target: parsed, fields: fields))
    }

    private let trusted = Caller.unix(uid: 1000, gid: 1000, pid: 1, isAdmitted: true)

    @Test(arguments: ["/v1/services", "/v1/services/web", "/api/v1/computers/self/services/web"])
    func `a read at once is the same as one that may wait`(target: String) async throws {
        for fields: Fields in [[:], ["User-Agent": "miosa-python/2.19.2"], ["X-Request-Id": "r-1"]] {
            for method: HTTP.Method in [.get, .head] {
                let client = Client(ScriptedControl([Samples.running]))
                let request = try request(target, method, fields)
                let waited = await client.api.respond(to: request, from: trusted)
                for _ in 0..<2 {
                    let reply = try #require(client.api.respondAtOnce(to: request, from: trusted))
                    #expect(reply.response == waited.response)
                    #expect(reply.route == waited.route)
                    #expect(reply.requestID == waited.requestID)
                    #expect(reply.service == waited.service)
                }
            }
        }
    }

    @Test func `what may take time is not answered at once`() throws {
        let client = Client()
        let targets: [(HTTP.Method, String, Fields)] = [
            (.get, "/v1/services?status=running", [:]), (.get, "/v1/services", ["Accept": "text/plain"]),
            (.get, "/v1/services/web", ["Accept": "text/plain"]), (.get, "/v1", [:]), (.get, "/healthz", [:]),
            (.post, "/v1/services", [:]), (.get, "/v1/services/web/logs", [:]),
        ]
        for (method, target, fields) in targets {
            #expect(client.api.respondAtOnce(to: try request(target, method, fields), from: trusted) == nil)
        }
        client.control.state.withLock { $0.outage = "systemd is away" }
        for target in ["/v1/services", "/v1/services/web"] {
            #expect(client.api.respondAtOnce(to: try request(target), from: trusted) == nil)
        }
    }

    @Test func `a read at once is refused like any other`() throws {
        let client = Client()
        let stranger = Caller.tcp(address: "127.0.0.1:1")
        let withToken: Fields = ["Authorization": "Bearer \(Client.token)"]
        let statuses = try [
            (Fields(), stranger), (withToken, stranger), (Fields(), .unix(uid: 1, gid: 1, pid: 1, isAdmitted: false)),
        ].map { fields, caller in
            client.api.respondAtOnce(to: try request("/v1/services", .get, fields), from: caller)?.response.status.code
        }
        #expect(statuses == [401, 200, 403])
        client.control.fail(with: .serviceNotFound)
        let reply = client.api.respondAtOnce(to: try request("/v1/services/web"), from: trusted)
        #expect(reply?.response.status == .notFound)
        let unknown = client.api.respondAtOnce(to: try request("/v1/services/web?x=y"), from: trusted)
        #expect(unknown?.response.status == .badRequest)
    }

    @Test func `a service that changes is another document and another list`() throws {
        let client = Client(ScriptedControl([Samples.running]))
        func bodies() throws -> [[UInt8]] {
            try ["/v1/services", "/v1/services/web"].map { target in
                try #require(client.api.respondAtOnce(to: try request(target), from: trusted)).response.body
            }
        }
        let before = try bodies()
        #expect(try bodies() == before)
        var record = Samples.running.record
        record.updatedAt = Timestamp(microseconds: 1)
        let changed = Service(record: record, state: Samples.running.state, intent: .none)
        client.control.state.withLock { $0.services = [changed] }
        let after = try bodies()
        #expect(after[0] != before[0] && after[1] != before[1])
        client.control.state.withLock { $0.services = [changed, Samples.running] }
        #expect(try bodies()[0].count > after[0].count)
    }

    @Test(arguments: [0, 1])
    func `a list is kept unless it is long for so few`(past: Int) {
        let list = ListCache()
        let tag = EntityTag(spec: 1, state: 2)
        var count = 0
        for _ in 0..<2 {
            _ = list.encoding(of: [Samples.running], .documented) {
                count += 1
                let bytes = [UInt8](repeating: 0x78, count: Service.keptEncodingBytesLimit + past)
                return ListCache.Encoding(bytes: bytes, tag: tag)
            }
        }
        #expect(count == 1 + past)
        _ = list.encoding(of: [Samples.running], .pythonLibrary) {
            count += 1
            return ListCache.Encoding(bytes: [], tag: tag)
        }
        #expect(count == 2 + past)
    }
}
