import HTTP
import JSON
import Services
import Synchronization
import Systemd
import Testing

@testable import API

/// Which client may use which route.
struct RoleTests {
    /// The least role for each route, by method and pattern without the mount; "anyone" needs no role. A route without
    /// a line fails the test.
    private static let roles = [
        "GET /healthz": "anyone", "GET /readyz": "anyone", "GET /metrics": "metrics", "GET /openapi.json": "read",
        "GET /v1": "read", "GET /v1/services": "read", "POST /v1/services": "admin",
        "GET /v1/services/{ref}": "read", "PUT /v1/services/{ref}": "admin", "DELETE /v1/services/{ref}": "admin",
        "POST /v1/services/{ref}/start": "admin", "POST /v1/services/{ref}/stop": "admin",
        "POST /v1/services/{ref}/restart": "admin", "POST /v1/services/{ref}/reload": "admin",
        "POST /v1/services/{ref}/signal": "admin", "PATCH /v1/services/{ref}": "admin",
        "GET /v1/services/{ref}/unit": "read",
        "GET /v1/services/{ref}/runs": "read", "GET /v1/services/{ref}/runs/{n}": "read",
        "GET /v1/services/{ref}/logs": "read", "GET /v1/events": "read",
        "GET /v1/audit": "read",
    ]

    /// The routes that an account may use, for its own services.
    private static let accountRoutes: Set = [
        "GET /openapi.json", "GET /v1/services", "POST /v1/services", "GET /v1/services/{ref}",
        "PUT /v1/services/{ref}", "DELETE /v1/services/{ref}", "POST /v1/services/{ref}/start",
        "POST /v1/services/{ref}/stop", "POST /v1/services/{ref}/restart", "POST /v1/services/{ref}/reload",
        "POST /v1/services/{ref}/signal", "PATCH /v1/services/{ref}", "GET /v1/services/{ref}/unit",
        "GET /v1/services/{ref}/runs", "GET /v1/services/{ref}/runs/{n}", "GET /v1/services/{ref}/logs",
        "GET /v1/events",
    ]

    private static let tokens: KeyValuePairs = [
        "metrics": String(repeating: "m", count: 32), "read": String(repeating: "r", count: 32),
        "admin": String(repeating: "a", count: 32),
    ]

    private let tcp = Caller.tcp(address: "127.0.0.1:1")

    private static func fields(_ token: String?) -> Fields { token.map { ["Authorization": "Bearer \($0)"] } ?? [:] }

    private func status(_ client: Client, _ route: Route, _ caller: Caller, _ token: String?) async throws -> Int {
        let path = route.pattern.replacing("{computer}", with: "self").replacing("{ref}", with: "web").replacing(
            "{n}",
            with: "1"
        )
        return try await client.send(route.method, path, from: caller, fields: Self.fields(token)).status
    }

    @Test func `each route takes its role and those above it`() async throws {
        let client = Client(identities: Self.tokens)
        for route in Routes.all {
            let line = "\(route.method.rawValue) \(route.label)"
            let needed = try #require(Self.roles[line], "no line for \(line)")
            for (name, token) in [("anyone", nil)] + Self.tokens.map({ ($0.key, $0.value as String?) }) {
                let order = ["anyone", "metrics", "read", "admin"]
                let isAllowed = try #require(order.firstIndex(of: name)) >= #require(order.firstIndex(of: needed))
                for caller in [tcp, .vsock(contextID: 2, isHost: true)] {
                    // Without the identity control-plane the host needs no token.
                    if case .vsock = caller, token == nil { continue }
                    let status = try await status(client, route, caller, token)
                    let comment: Comment = "\(line) as \(name): \(status)"
                    if isAllowed {
                        #expect(status != 401 && status != 403, comment)
                    } else {
                        #expect(status == (name == "anyone" ? 401 : 403), comment)
                    }
                }
            }
        }
        #expect(Set(Routes.all.map { "\($0.method.rawValue) \($0.label)" }) == Set(Self.roles.keys))
    }

    private let alice = Caller.account(uid: 1000, pid: 1, Client.alice)

    private static let body = #"{"name":"web","command":"serve"}"#

    @Test func `an account takes the routes of services and sees nothing but its own`() async throws {
        for route in Routes.all {
            let line = "\(route.method.rawValue) \(route.label)"
            let client = Client(identities: Self.tokens)
            let path = route.pattern.replacing("{computer}", with: "self").replacing("{ref}", with: "web").replacing(
                "{n}",
                with: "1"
            )
            let body = route.method == .put || route.pattern.hasSuffix("/services") && route.method == .post
            // A token adds nothing.
            let fields = Self.fields(String(repeating: "a", count: 32))
            let reply = try await client.send(route.method, path, body ? Self.body : "", from: alice, fields: fields)
            let isAllowed = route.role == nil || Self.accountRoutes.contains(line)
            #expect(isAllowed == (reply.status != 403), "\(line): \(reply.status)")
            #expect(reply.status < 500, "\(line): \(reply.status)")
            // What an account asks for is asked of its own control alone.
            #expect(client.control.calls.isEmpty, "\(line)")
            let entries = client.control.state.withLock { $0.audit }
            let isRead = route.method == .get
            #expect(entries.map(\.role) == (isRead || !isAllowed ? [] : ["account"]), "\(line)")
        }
    }

    @Test(arguments: [
        (Caller.account(uid: 100_000, pid: 1, nil), "the uid 100000 is no account of /etc/passwd"),
        (Caller.account(uid: 1000, pid: 1, Client.alice), "services may not run as 'alice'"),
    ])
    func `who is no account, or may run nothing, may use nothing`(caller: Caller, reason: String) async throws {
        for route in Routes.all {
            let client = Client(identities: Self.tokens, allowedUsers: ["user"])
            let path = route.pattern.replacing("{computer}", with: "self").replacing("{ref}", with: "web").replacing(
                "{n}",
                with: "1"
            )
            let reply = try await client.send(route.method, path, from: caller)
            #expect((reply.status == 403) == (route.role != nil), "\(route.method) \(path): \(reply.status)")
            if reply.status == 403 { #expect(reply.text.contains(reason)) }
            #expect(client.control.allCalls.isEmpty)
        }
    }

    /// What an account sends: the body, and the fields that are refused.
    @Test(arguments: [
        (#"{"name":"web","command":"serve"}"#, []), (#"{"name":"web","command":"serve","user":"alice"}"#, []),
        (#"{"name":"web","command":"serve","user":"root"}"#, ["user"]),
        (#"{"name":"web","command":"serve","user":"Alice"}"#, ["user"]),
        (#"{"name":"web.1000","command":"serve"}"#, []), (#"{"name":"web.1001","command":"serve"}"#, ["name"]),
        (#"{"name":"web.0","command":"serve"}"#, ["name"]), (#"{"command":"serve"}"#, ["name"]),
    ])
    func `an account's spec runs as the account`(body: String, refused: [String]) async throws {
        let client = Client()
        let reply = try await client.send(.post, "/v1/services", body, from: alice)
        guard refused.isEmpty else {
            #expect(reply.status == 422)
            #expect(try reply.details == refused)
            return
        }
        #expect(reply.status == 201)
        #expect(reply["Location"] == "/v1/services/web")
        let spec = try #require(client.control.state.withLock { $0.accounts[1000] }?.specs.first)
        #expect((spec.user, spec.account, spec.workingDirectory) == ("alice", 1000, "/home/alice"))
    }

    @Test(arguments: [
        ("web.1000", "alice", nil), ("web.1000", nil, nil), ("web.1000", "user", "user"), ("web.1001", nil, "name"),
    ])
    func `an administrator's spec of an own service runs as its account`(
        name: String,
        user: String?,
        refused: String?
    ) async throws {
        let client = Client()
        let member = user.map { #","user":"\#($0)""# } ?? ""
        let reply = try await client.send(.post, "/v1/services", #"{"name":"\#(name)","command":"serve"\#(member)}"#)
        #expect(try reply.status == 422 ? reply.details == [refused] : refused == nil)
        guard refused == nil else { return }
        let spec = try #require(client.control.specs.first)
        #expect((spec.user, spec.account) == ("alice", 1000))
    }

    @Test func `an account's keys are its own`() async throws {
        let client = Client()
        let fields: Fields = ["Idempotency-Key": "key"]
        let own = try await client.send(.post, "/v1/services", Self.body, from: alice, fields: fields)
        #expect(own.status == 201)
        let other = #"{"name":"db","command":"serve"}"#
        #expect(try await client.send(.post, "/v1/services", other, fields: fields).status == 201)
        #expect(try await client.send(.post, "/v1/services", other, from: alice, fields: fields).status == 422)
    }

    @Test func `an account knows its services by their short names`() async throws {
        var draft = SpecDraft()
        draft["name"] = "web.1000"
        draft["command"] = "serve"
        draft["user"] = "alice"
        let client = Client(ScriptedControl([Samples.service(draft, UnitState())]))
        // First what is cached for administrators.
        #expect(try await client.send(.get, "/v1/services/web.1000").text.contains(#""name":"web.1000""#))
        for target in ["/v1/services", "/v1/services/web"] {
            let text = try await client.send(.get, target, from: alice).text
            #expect(text.contains(#""name":"web","#), "\(text)")
            #expect(text.contains(#""unit":"miosa-service-web.1000.service""#), "\(text)")
        }
        #expect(try await client.send(.get, "/v1/services").text.contains(#""name":"web.1000""#))
        let page = try await client.send(.get, "/v1/services/web", from: alice, fields: ["Accept": "text/plain"])
        #expect(page.text.hasPrefix("web\n"))
        let removed = try await client.send(.delete, "/v1/services/web", from: alice)
        #expect(removed.text.contains(#""name":"web""#))
    }

    @Test func `a role that is too low changes nothing and is named`() async throws {
        let client = Client(identities: Self.tokens)
        let fields = Self.fields(String(repeating: "r", count: 32))
        let reply = try await client.send(.post, "/v1/services", #"{"name":"x"}"#, from: tcp, fields: fields)
        #expect(reply.status == 403)
        #expect(reply.text.contains("the role 'read' may not call this; it takes 'admin'"))
        #expect(client.control.calls.isEmpty)
    }

    @Test(arguments: ["/v1/services", "/v1/services/web", "/v1/services?usage=true", "/v1/services/web?usage=true"])
    func `the role read sees the names of variables and not their values`(target: String) async throws {
        let client = Client(identities: Self.tokens)
        for (token, text) in [("r", #""env":{"A":"(hidden)","B":"(hidden)"}"#), ("a", #""env":{"A":"1","B":"2"}"#)] {
            let fields = Self.fields(String(repeating: token, count: 32))
            // Twice: the second is from a cache, if it is cached at all.
            for _ in 0..<2 {
                #expect(try await client.send(.get, target, from: tcp, fields: fields).text.contains(text))
            }
        }
    }

    @Test func `a hidden value is no value`() async throws {
        let body = #"{"name":"x","command":"y","env":{"A":"(hidden)"}}"#
        let reply = try await Client().send(.post, "/v1/services", body)
        #expect(reply.status == 422)
        #expect(try reply.details == ["env"])
    }

    @Test func `over vsock another identity's token gives that one's role`() async throws {
        let host = Caller.vsock(contextID: 2, isHost: true)
        let reader = Self.fields(String(repeating: "r", count: 32))
        for client in [
            Client(identities: Self.tokens),
            Client(identities: ["control-plane": Client.token, "read": String(repeating: "r", count: 32)]),
        ] {
            #expect(try await client.send(.get, "/v1/services", from: host, fields: reader).status == 200)
            #expect(try await client.send(.delete, "/v1/services/web", from: host, fields: reader).status == 403)
        }
    }

    @Test func `readiness without an identity is ok or not and no more`() async throws {
        let client = Client(identities: Self.tokens)
        #expect(try await client.send(.get, "/readyz", from: tcp).text == "{\"status\":\"ok\"}\n")
        client.control.state.withLock { $0.outage = "the reason" }
        let stranger = try await client.send(.get, "/readyz", from: tcp)
        #expect(stranger.status == 503)
        #expect(!stranger.text.contains("the reason"))
        let fields = Self.fields(String(repeating: "m", count: 32))
        #expect(try await client.send(.get, "/readyz", from: tcp, fields: fields).text.contains("the reason"))
    }
}

struct IdentityTests {
    private func identities(_ all: (String, Role, String)...) -> Identities {
        Identities(all.map { Identity($0, $1, BearerToken($2)!) }, sha256: SHA256.hash)
    }

    private let long = String(repeating: "t", count: 32)
    private let other = String(repeating: "o", count: 256)

    @Test(arguments: [
        (31, false), (32, true), (256, true), (257, false),
    ])
    func `a token has a shortest and a longest length`(length: Int, isValid: Bool) {
        #expect((BearerToken(String(repeating: "t", count: length)) != nil) == isValid)
    }

    @Test(arguments: [" ", "\t", "\u{7f}", "ä", "\0"])
    func `a token is visible ASCII`(character: String) {
        #expect(BearerToken(character + long) == nil)
    }

    @Test(arguments: [
        "sha256:", "sha256:" + String(repeating: "a", count: 63), "sha256:" + String(repeating: "g", count: 64),
    ])
    func `a digest has 64 hexadecimal digits`(text: String) {
        #expect(BearerToken(text) == nil)
    }

    @Test func `a client is known by the token of a digest`() throws {
        let hexadecimal = SHA256.hash(Array(long.utf8)).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }
        for text in [hexadecimal.joined(), hexadecimal.joined().uppercased()] {
            let identities = identities(("a", .read, "sha256:" + text), ("b", .admin, other))
            #expect(identities.identity(of: "Bearer \(long)")?.name == "a")
            #expect(identities.identity(of: "bearer \(other)")?.name == "b")
            #expect(identities.identity(of: "Bearer sha256:\(text)") == nil)
            #expect(identities.identity(of: "Bearer \(long)x") == nil)
            #expect(identities.identity(of: nil) == nil)
        }
    }

    @Test func `a token of two identities is found`() throws {
        let hexadecimal = SHA256.hash(Array(long.utf8)).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }
        let identities = identities(
            ("a", .read, long),
            ("b", .admin, "sha256:" + hexadecimal.joined()),
            ("c", .admin, other)
        )
        #expect(identities.all.map { identities.sharesToken($0)?.name } == [nil, "a", nil])
    }

    @Test func `what has changed is told without secrets`() {
        let former = identities(("a", .read, long), ("b", .admin, other), ("c", .metrics, long + "c"))
        let now = identities(("a", .read, long), ("b", .read, other + ""), ("d", .admin, long + "d")).keeping(former)
        #expect(now.contains(former.all[0]))
        #expect(!now.contains(former.all[1]))
        #expect(
            now.changes(since: former)
                == "'b' has the role read, not admin, 'd' (admin) was added, 'c' (metrics) was removed"
        )
        #expect(former.keeping(former).changes(since: former) == "no identity has changed")
        let rotated = identities(("a", .read, long + "2")).keeping(former)
        #expect(rotated.changes(since: identities(("a", .read, long))) == "'a' (read) has another token")
    }

    @Test(arguments: [("a", true), ("A-z_9", true), ("", false), ("a.b", false), ("ä", false)])
    func `a name is letters, digits, hyphens and underscores`(name: String, isName: Bool) {
        #expect(Identity.isName(name) == isName)
        #expect(Identity.isName(String(repeating: "n", count: 64)))
        #expect(!Identity.isName(String(repeating: "n", count: 65)))
    }
}
