import API
import HTTP
import JSON
import Services
import Synchronization
import Testing

struct RoutesTests {
    private let client = Client()

    @Test(arguments: ["/v1", "/api/v1/computers/self", "/api/v1/computers/computer-1"])
    func `every mount serves the same routes`(mount: String) async throws {
        #expect(try await client.send(.get, "\(mount)").status == 200)
        #expect(try await client.send(.get, "\(mount)/services").status == 200)
        #expect(try await client.send(.get, "\(mount)/services/web").status == 200)
        #expect(try await client.send(.get, "\(mount)/services/web/unit").status == 200)
        for verb in ["start", "stop", "restart"] {
            #expect(try await client.send(.post, "\(mount)/services/web/\(verb)").status == 200)
        }
        #expect(try await client.send(.delete, "\(mount)/services/web").status == 200)
        #expect(try await client.send(.put, "\(mount)/services/web", #"{"command":"x"}"#).status == 201)
    }

    @Test func `a process that is neither root's nor the group's learns nothing but whether the agent lives`()
        async throws
    {
        let stranger = Caller.unix(uid: 1001, gid: 1001, pid: 2, isAdmitted: false)
        client.control.state.withLock { $0.unreadable = ["secret.json"] }
        for path in ["/v1/services", "/v1", "/metrics", "/openapi.json", "/v1/events", "/nothing"] {
            let reply = try await client.send(.get, path, from: stranger)
            #expect(reply.status == 403)
            #expect(try reply.code == "FORBIDDEN")
        }
        #expect(try await client.send(.get, "/healthz", from: stranger).status == 200)
        #expect(try await client.send(.get, "/readyz", from: stranger).text == #"{"status":"ok"}"# + "\n")
        #expect(client.control.calls.isEmpty)
    }

    @Test(arguments: [
        ("localhost", 200), ("LOCALHOST:2088", 200), ("127.0.0.1:2088", 200), ("10.0.0.7", 200), ("[::1]:2088", 200),
        ("[fe80::1]", 200), ("[fe80::2]:1", 403), ("10.0.0.8", 403), ("127.9.9.9", 200), ("HOST:1", 200),
        ("computer-1", 200), ("public.example:443", 200), ("public.example.com", 403), ("example.com", 403),
        ("localhost.example.com", 403), ("127.0.0.1.example.com", 403),
        ("127.0.0", 403), ("127.0.0.256", 403), ("1.2.3.4.5", 403), ("127.0.0.1a", 403), ("localhost.", 403),
    ])
    func `a name that others could have chosen is refused`(host: String, status: Int) async throws {
        for path in ["/v1/services", "/healthz"] {
            let fields: Fields = ["Authorization": "Bearer \(Client.token)"]
            let reply = try await client.send(.get, path, from: .tcp(address: "x"), host: host, fields: fields)
            #expect(reply.status == status)
            if status == 403 { #expect(reply.text.contains("MIOSA_AGENT_HOSTS")) }
            // A person can forward the Unix socket.
            #expect(try await client.send(.get, path, host: host).status == status)
        }
    }

    @Test(arguments: [
        ("Origin", "https://example.com", 403), ("Origin", "null", 403), ("Origin", "http://127.0.0.1:2088", 403),
        ("Origin", "http://localhost:2089", 403), ("Origin", "http://localhost", 403), ("Origin", "", 403),
        ("Origin", "ftp://localhost:2088", 403), ("Origin", "http://localhost:2088", 200),
        ("Origin", "https://LOCALHOST:2088", 200), ("Sec-Fetch-Site", "cross-site", 403),
        ("Sec-Fetch-Site", "same-site", 403), ("Sec-Fetch-Site", "", 403), ("Sec-Fetch-Site", "same-origin", 200),
        ("Sec-Fetch-Site", "none", 200),
    ])
    func `a request of another site's page is refused on every listener`(
        field: String,
        value: String,
        status: Int
    ) async throws {
        let fields: Fields = ["Authorization": "Bearer \(Client.token)", field: value]
        for caller in [
            Caller.tcp(address: "x"), .unix(uid: 0, gid: 0, pid: 1, isAdmitted: true),
            .vsock(contextID: 2, isHost: true),
        ] {
            for path in ["/v1/services", "/healthz"] {
                let reply = try await client.send(.get, path, from: caller, host: "localhost:2088", fields: fields)
                #expect(reply.status == status)
                if status == 403 { #expect(reply.text.contains(field)) }
            }
        }
        #expect(client.control.calls.count == (status == 200 ? 3 : 0))
    }

    @Test func `another computer is not found`() async throws {
        let reply = try await client.send(.get, "/api/v1/computers/other/services")
        #expect(reply.status == 404)
        #expect(try reply.code == "COMPUTER_NOT_FOUND")
        #expect(client.control.calls.isEmpty)
    }

    @Test(arguments: ["/", "/v2/services", "/v1/services/", "/v1/services/web/logs/x", "/api/v1/services"])
    func `an unknown path is not found`(path: String) async throws {
        let reply = try await client.send(.get, path)
        #expect(reply.status == 404)
        #expect(try reply.code == "NOT_FOUND")
    }

    @Test(arguments: [
        ("/v1/services", HTTP.Method.delete, "POST, GET, HEAD"),
        ("/v1/services/web", .post, "GET, HEAD, PUT, PATCH, DELETE"),
        ("/v1/services/web/start", .get, "POST"), ("/healthz", .post, "GET, HEAD"),
    ])
    func `another method is told which there are`(path: String, method: HTTP.Method, allowed: String) async throws {
        let reply = try await client.send(method, path)
        #expect(reply.status == 405)
        #expect(try reply.code == "METHOD_NOT_ALLOWED")
        #expect(reply["Allow"] == allowed)
    }

    @Test func `HEAD is answered like GET`() async throws {
        let get = try await client.send(.get, "/v1/services/web")
        let head = try await client.send(.head, "/v1/services/web")
        #expect(head.status == 200)
        #expect(head.text == get.text, "the encoder leaves the body out")
    }

    @Test(arguments: ["/v1/services?colour=red", "/v1/services/web?wait=ready", "/healthz?x="])
    func `an unknown query parameter is refused`(target: String) async throws {
        let reply = try await client.send(.get, target)
        #expect(reply.status == 400)
        #expect(client.control.calls.isEmpty)
    }

    @Test func `an encoded body is refused`() async throws {
        let fields: Fields = ["Content-Encoding": "gzip"]
        let reply = try await client.send(.post, "/v1/services", "x", fields: fields)
        #expect(reply.status == 415)
        #expect(reply["Accept-Encoding"] == "identity")
    }
}

struct AccessTests {
    private let client = Client()

    private func status(_ target: String, _ authorization: String?) async throws -> Int {
        var fields = Fields()
        if let authorization { fields.append("Authorization", authorization) }
        return try await client.send(.get, target, from: .tcp(address: "127.0.0.1:1"), fields: fields).status
    }

    @Test(arguments: [
        nil, "", "Bearer", "Bearer ", "Bearer 0123456789abcdef0123456789abcde",
        "Bearer 0123456789abcdef0123456789abcdef0", "Bearer 0123456789abcdef0123456789abcdeF",
        "Basic 0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef",
        "Bearer  0123456789abcdef0123456789abcdef",
    ])
    func `TCP without the token is unauthorized whatever it asks for`(authorization: String?) async throws {
        #expect(try await status("/v1/services", authorization) == 401)
        #expect(try await status("/nowhere", authorization) == 401)
        #expect(try await status("/api/v1/computers/other/services", authorization) == 401)
        #expect(client.control.calls.isEmpty)
    }

    @Test(arguments: [
        "Bearer 0123456789abcdef0123456789abcdef", "bearer 0123456789abcdef0123456789abcdef",
        "BEARER 0123456789abcdef0123456789abcdef",
    ])
    func `TCP with the token is served`(authorization: String) async throws {
        #expect(try await status("/v1/services", authorization) == 200)
    }

    @Test func `without a token in the configuration TCP is never served`() async throws {
        let client = Client(identities: [:])
        let fields: Fields = ["Authorization": "Bearer "]
        let caller = Caller.tcp(address: "127.0.0.1:1")
        let reply = try await client.send(.get, "/v1/services", from: caller, fields: fields)
        #expect(reply.status == 401)
        #expect(reply.text.contains("there is no token"))
    }

    @Test(
        arguments: [
            // The host, with the token, without, with another; another machine, this one, one that has gone.
            (2, Client.token, 200), (2, nil, 401), (2, "another", 401), (3, Client.token, 403), (1, Client.token, 403),
            (0, Client.token, 403), (nil, Client.token, 403),
        ] as [(UInt32?, String?, Int)]
    )
    func `over vsock the host with the token is served and nobody else`(
        contextID: UInt32?,
        token: String?,
        status: Int
    ) async throws {
        let caller = Caller.vsock(contextID: contextID, isHost: contextID == 2)
        let fields: Fields = token.map { ["Authorization": "Bearer \($0)"] } ?? [:]
        let reply = try await client.send(.get, "/v1/services", from: caller, host: "any.example", fields: fields)
        #expect(reply.status == status)
        #expect(try await client.send(.get, "/healthz", from: caller).status == 200)
    }

    @Test func `over vsock the host needs no token where there is none`() async throws {
        let client = Client(identities: [:])
        #expect(try await client.send(.get, "/v1/services", from: .vsock(contextID: 2, isHost: true)).status == 200)
        #expect(try await client.send(.get, "/v1/services", from: .vsock(contextID: 3, isHost: false)).status == 403)
    }

    @Test func `the answer to a stranger says how to authenticate`() async throws {
        let reply = try await client.send(.get, "/v1/services", from: .tcp(address: "127.0.0.1:1"))
        #expect(reply["WWW-Authenticate"] == "Bearer")
        #expect(try reply.code == "UNAUTHORIZED")
    }

    @Test func `the Unix socket needs no token`() async throws {
        #expect(try await client.send(.get, "/v1/services").status == 200)
    }

    @Test func `health and readiness need no token`() async throws {
        #expect(try await status("/healthz", nil) == 200)
        #expect(try await status("/readyz", nil) == 200)
    }

    @Test func `a request with a body is refused before the body is read`() throws {
        let target = try RequestTarget(parsing: "/v1/services", method: .post)
        let fields: Fields = ["Host": "localhost", "Content-Length": "5"]
        let head = try RequestHead(method: .post, target: target, fields: fields)
        #expect(client.api.refusal(of: head, from: .tcp(address: "127.0.0.1:1"))?.response.status == .unauthorized)
        #expect(
            client.api.refusal(of: head, from: .unix(uid: 0, gid: 0, pid: 1, isAdmitted: true)).map(\.requestID) == nil
        )
    }
}

struct HealthTests {
    @Test func `readiness tells why systemd is out of reach`() async throws {
        let client = Client()
        client.control.state.withLock { $0.outage = "gone" }
        let reply = try await client.send(.get, "/readyz")
        #expect(reply.status == 503)
        #expect(reply["Retry-After"] == "1")
        #expect(reply.text.contains("gone"))
        #expect(try await client.send(.get, "/healthz").status == 200)
    }

    @Test func `readiness names records that were set aside`() async throws {
        let client = Client()
        client.control.state.withLock { $0.unreadable = ["a.json.unreadable"] }
        #expect(
            try await client.send(.get, "/readyz").text
                == #"{"status":"ok","unreadable_records":["a.json.unreadable"],"journal":null,"port_owner":"cgroup"}"#
                + "\n"
        )
    }

    @Test func `readiness tells whether the owner of a port is known`() async throws {
        let client = Client()
        client.control.state.withLock { $0.isPortOwnerKnown = false }
        #expect(try await client.send(.get, "/readyz").text.contains(#""port_owner":"account""#))
    }

    @Test func `readiness and metrics tell how journald is`() async throws {
        let client = Client()
        #expect(try await !client.send(.get, "/metrics").text.contains("\nmiosa_journal_active "))
        for (state, figure) in [(ActiveState.active, 1), (.inactive, 0), (.failed, 0)] {
            client.control.state.withLock {
                $0.journal = state
                $0.measurements.isJournalActive = state == .active
            }
            let reply = try await client.send(.get, "/readyz").text
            #expect(
                reply
                    == #"{"status":"ok","unreadable_records":[],"journal":"\#(state.rawValue)","port_owner":"cgroup"}"#
                    + "\n"
            )
            #expect(try await client.send(.get, "/metrics").text.contains("\nmiosa_journal_active \(figure)\n"))
        }
    }
}

struct RequestIDTests {
    @Test(arguments: [
        ("abc-1_2.3:4", true), (String(repeating: "a", count: 128), true), (String(repeating: "a", count: 129), false),
        ("", false), ("a b", false), ("é", false), ("a;b", false),
    ])
    func `a client's id is taken over where it is a sane token`(given: String, isTaken: Bool) async throws {
        let reply = try await Client().send(.get, "/v1/none", fields: ["X-Request-Id": given])
        let id = isTaken ? given : "made-1"
        #expect(reply["X-Request-Id"] == id)
        #expect(try reply.object["request_id"] == .string(id))
        #expect(reply.reply.requestID == id)
    }
}
