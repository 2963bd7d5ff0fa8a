import API
import HTTP
import JSON
import Services
import Synchronization
import Systemd
import Testing

/// Sends requests to an API as a test writes them.
struct Client {
    static let token = "0123456789abcdef0123456789abcdef"
    /// What the API takes for the present: 2026-01-31T12:00:00Z.
    static let now = Timestamp(microseconds: 1_769_860_800_000_000)

    /// The one account of the machine.
    static let alice = Account(uid: 1000, name: "alice", home: "/home/alice")

    let control: ScriptedControl
    let api: API

    /// `identities` have a token each, by name; those of another role than `admin` have the role's name.
    init(
        _ control: ScriptedControl = ScriptedControl([Samples.running]),
        identities: KeyValuePairs<String, String> = ["control-plane": Client.token],
        allowedUsers: [String]? = nil
    ) {
        self.control = control
        api = API(
            API.Configuration(
                computer: ComputerIdentity(computerID: "computer-1", tenantID: nil),
                hosts: Hosts(configured: ["Public.example"]) { ["host", "10.0.0.7", "fe80::1"].contains($0) },
                identities: Identities(
                    identities.map { Identity($0, Role(rawValue: $0) ?? .admin, BearerToken($1)!) },
                    sha256: SHA256.hash
                ),
                defaults: SpecDraft.Defaults(user: "user", allowedUsers: allowedUsers),
                account: { $0 == Client.alice.uid ? Client.alice : nil }
            ),
            control: control,
            answers: control,
            audit: control,
            describeComputer: {
                Computer(
                    hostname: "host",
                    bootID: "boot",
                    bootedAt: Timestamp(microseconds: 0),
                    agentVersion: "1.2.3",
                    systemdVersion: "252"
                )
            },
            now: { Client.now },
            measureAgent: { control.state.withLock { $0.agent } },
            makeRequestID: { "made-1" }
        )
    }

    func send(
        _ method: HTTP.Method,
        _ target: String,
        _ body: String = "",
        from caller: Caller = .unix(uid: 1000, gid: 1000, pid: 1, isAdmitted: true),
        host: String = "localhost",
        fields: Fields = Fields()
    ) async throws -> Reply {
        var fields = fields
        fields.append("Host", host)
        if !body.isEmpty { fields.append("Content-Length", String(body.utf8.count)) }
        let head = try RequestHead(
            method: method,
            target: try RequestTarget(parsing: target, method: method),
            fields: fields
        )
        return Reply(await api.respond(to: Request(head: head, body: Array(body.utf8)), from: caller))
    }
}

extension API {
    /// The whole answer to a request, without the shorter way for reads from memory.
    func respond(to request: Request, from caller: Caller) async -> API.Reply {
        switch admit(request.head, from: caller) {
        case .reply(let reply): reply
        case .later(let admitted): await respond(to: request, admitted)
        }
    }

    /// The reply of the first step; nil for a request that may have to wait.
    func respondAtOnce(to request: Request, from caller: Caller) -> API.Reply? {
        if case .reply(let reply) = begin(request, from: caller) { reply } else { nil }
    }

    /// The reply to a request that is refused by its head.
    func refusal(of head: RequestHead, from caller: Caller) -> API.Reply? {
        if case .reply(let reply) = admit(head, from: caller) { reply } else { nil }
    }
}

/// Collects the body of a streamed response.
final class Collector: BodyWriter {
    private let pieces = Mutex<[[UInt8]]>([])
    /// How many pieces are taken before the reader goes.
    let limit: Int

    init(limit: Int = .max) { self.limit = limit }

    func write(_ bytes: [UInt8]) async throws(BodyStreamClosed) {
        let isOpen = pieces.withLock { pieces in
            guard pieces.count < limit else { return false }
            pieces.append(bytes)
            return true
        }
        if !isOpen { throw BodyStreamClosed() }
    }

    var count: Int { pieces.withLock { $0.count } }
    var text: String { String(decoding: pieces.withLock { $0.flatMap { $0 } }, as: UTF8.self) }
}

/// What came back, in the form in which tests look at it.
struct Reply {
    let reply: API.Reply

    init(_ reply: API.Reply) { self.reply = reply }

    var status: Int { reply.response.status.code }
    var text: String { String(decoding: reply.response.body, as: UTF8.self) }

    var object: JSONObject {
        get throws {
            guard case .object(let object) = try JSONParser.parse(reply.response.body) else {
                throw NoObject(text: text)
            }
            return object
        }
    }

    var code: String? {
        get throws { try object["code"].flatMap { if case .string(let code) = $0 { code } else { nil } } }
    }

    /// The fields that a 422 or 400 names.
    var details: [String] {
        get throws {
            guard case .object(let details) = try object["details"] else { return [] }
            return details.map(\.key)
        }
    }

    /// The whole body of a streamed response.
    var streamed: String {
        get async throws {
            let collector = Collector()
            try await #require(reply.stream).produce(collector)
            return collector.text
        }
    }

    subscript(_ field: String) -> String? { reply.response.fields[field] }

    struct NoObject: Error {
        let text: String
    }
}

/// Services in the states that tests need.
enum Samples {
    static let running: Service = {
        var draft = SpecDraft()
        draft["name"] = "web"
        draft["command"] = "serve"
        draft["env"] = ["B": "2", "A": "1"]
        draft["port"] = 8000
        var state = UnitState()
        state.activeState = .active
        state.subState = "running"
        state.mainPID = 42
        return service(draft, state)
    }()

    static let failed: Service = {
        var state = UnitState()
        state.activeState = .failed
        state.result = "exit-code"
        return service(running.record.spec, state)
    }()

    static func service(_ spec: ServiceSpec, _ state: UnitState) -> Service {
        let record = ServiceRecord(id: "id-1", spec: spec, createdAt: Timestamp(microseconds: 1_000_000))
        return Service(record: record, state: state, intent: .none)
    }

    static func service(_ draft: SpecDraft, _ state: UnitState) -> Service {
        // The drafts of tests are valid; one that is not ends the test run with the reason.
        let spec = try? draft.validated(defaults: SpecDraft.Defaults(user: "user"))
        return service(spec!, state)
    }
}
