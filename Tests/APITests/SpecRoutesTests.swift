import HTTP
import JSON
import Services
import Synchronization
import Testing

@testable import API

/// Requests that create, change and signal a service, beyond a whole spec.
struct SpecRoutesTests {
    private let client = Client()

    // MARK: Every field

    /// A value of each field that is not its default, and what an answer shows of it if that differs.
    static let values: [String: (given: JSONValue, shown: JSONValue?)] = [
        "command": ("exec other --x", nil), "env": (["B": "2"], nil), "cwd": ("/srv", nil), "restart": ("always", nil),
        "port": (80, nil), "user": ("root", nil), "stdio": ("pipe", nil), "description": ("the web", nil),
        "enabled": (false, nil), "network": (true, nil), "shell": ("bash", nil), "group": ("www-data", nil),
        "umask": ("0027", nil), "stop_signal": ("INT", "SIGINT"), "stop_timeout": (30, nil), "stop_mode": ("main", nil),
        "reload_signal": ("SIGHUP", nil), "start_timeout": (90, nil), "restart_delay": (0, nil),
        "restart_max_delay": (30, nil), "env_file": ("/etc/web.env", ["/etc/web.env"]),
        "pre_start": (["./migrate", "sleep 1; true"], nil), "post_stop": (["rm -f x"], nil),
        "restart_limit": (["within": 60, "starts": 3], ["starts": 3, "within": 60]),
        "limits": (
            ["memory": "512M"], ["memory": 536_870_912, "cpus": .null, "tasks": .null, "open_files": .null]
        ),
        "sandbox": ("basic", nil), "writable": (["/srv/a"], nil), "log_rate_limit": (100, nil),
        "labels": (["team": "web"], nil),
    ]

    @Test func `what is given of each field is what is kept, shown and taken again`() async throws {
        #expect(Set(Self.values.keys).union(["name"]) == Set(SpecFields.all.map(\.key)))
        for (key, value) in Self.values {
            let client = Client()
            var body = JSONObject()
            if key != "command" { body.append("command", "exec x y") }
            body.append(key, value.given)
            let put = String(decoding: JSONValue.object(body).encoded(), as: UTF8.self)
            #expect(try await client.send(.put, "/v1/services/web", put).status == 201, "\(key)")
            let spec = try #require(client.control.specs.last)
            let field = try #require(SpecFields.find(key)?.field)
            #expect(field.value(in: spec) == value.shown ?? value.given, "\(key)")
            #expect(field.value(in: spec) != field.standardValue, "\(key)")
            // The document of the service, as a body.
            let record = ServiceRecord(id: "id", spec: spec, createdAt: Client.now)
            let service = Service(record: record, state: UnitState(), intent: .none)
            client.control.state.withLock { $0.services = [service] }
            let document = try await client.send(.get, "/v1/services/web")
            #expect(try document.object["data"]?.object?[key] == value.shown ?? value.given, "\(key)")
            #expect(try await client.send(.put, "/v1/services/web", document.text).status == 201, "\(key)")
            #expect(client.control.specs.last == spec, "\(key)")
        }
    }

    /// A value that is refused, and the place that the answer names.
    @Test(arguments: [
        (#""description":"a\nb""#, "description"), (#""description":7"#, "description"), (#""enabled":1"#, "enabled"),
        (#""shell":"zsh""#, "shell"), (#""group":"a b""#, "group"), (#""umask":"0999""#, "umask"),
        (#""umask":"1027""#, "umask"), (#""umask":18"#, "umask"), (#""stop_signal":"SIGNONE""#, "stop_signal"),
        (#""stop_signal":"SIG33""#, "stop_signal"), (#""stop_timeout":-1"#, "stop_timeout"),
        (#""stop_timeout":3601"#, "stop_timeout"), (#""start_timeout":0"#, "start_timeout"),
        (#""start_timeout":3601"#, "start_timeout"), (#""restart_delay":3601"#, "restart_delay"),
        (#""restart_limit":{"starts":5}"#, "restart_limit"), (#""restart_limit":5"#, "restart_limit"),
        (#""restart_limit":{"starts":0,"within":1}"#, "restart_limit.starts"),
        (#""restart_limit":{"starts":1001,"within":1}"#, "restart_limit.starts"),
        (#""restart_limit":{"starts":1,"within":86401}"#, "restart_limit.within"),
        (#""limits":{"memory":"512X"}"#, "limits.memory"), (#""limits":{"memory":1048575}"#, "limits.memory"),
        (#""limits":{"memory":"9999999999T"}"#, "limits.memory"), (#""limits":{"cpus":0}"#, "limits.cpus"),
        (#""limits":{"cpus":0.005}"#, "limits.cpus"), (#""limits":{"cpus":1024.01}"#, "limits.cpus"),
        (#""limits":{"tasks":4194305}"#, "limits.tasks"), (#""limits":{"open_files":1048577}"#, "limits.open_files"),
        (#""limits":{"disk":1}"#, "limits.disk"), (#""limits":[]"#, "limits"), (#""sandbox":true"#, "sandbox"),
        (#""writable":"/a""#, "writable"), (#""writable":["/a","b"]"#, "writable[1]"),
        (#""log_rate_limit":0"#, "log_rate_limit"), (#""log_rate_limit":1000001"#, "log_rate_limit"),
        (#""labels":{"A":"b"}"#, "labels"), (#""labels":{"a":1}"#, "labels"),
        (#""stop_mode":"main","command":"a; b""#, "stop_mode"), (#""env_file":"web.env""#, "env_file"),
        (#""env_file":["/a","b"]"#, "env_file[1]"), (#""env_file":7"#, "env_file"),
        (#""pre_start":"a""#, "pre_start"), (#""pre_start":["a"," "]"#, "pre_start[1]"),
        (#""pre_start":["1","2","3","4","5","6","7","8","9"]"#, "pre_start"), (#""post_stop":[1]"#, "post_stop[0]"),
        (#""restart_max_delay":0"#, "restart_max_delay"), (#""restart_max_delay":3601"#, "restart_max_delay"),
        (#""restart_delay":5,"restart_max_delay":4"#, "restart_max_delay"),
        (#""restart_delay":0,"restart_max_delay":4"#, "restart_max_delay"),
    ])
    func `a value that is none is refused with its place`(members: String, place: String) async throws {
        let command = members.contains("\"command\"") ? "" : #""command":"x","#
        let reply = try await client.send(.put, "/v1/services/web", "{\(command)\(members)}")
        #expect(reply.status == 422)
        #expect(try reply.details == [place])
    }

    @Test(arguments: [
        ("description", 256, 257), ("writable", 32, 33), ("labels", 32, 33), ("label", 256, 257), ("key", 63, 64),
    ])
    func `the limit of a field is taken and one more is refused`(what: String, limit: Int, more: Int) async throws {
        func body(_ count: Int) -> String {
            let value: String
            let text = String(repeating: "x", count: count)
            switch what {
            case "description": value = #""description":"\#(text)""#
            case "writable": value = #""writable":[\#((0..<count).map { "\"/\($0)\"" }.joined(separator: ","))]"#
            case "labels": value = #""labels":{\#((0..<count).map { "\"l\($0)\":\"\"" }.joined(separator: ","))}"#
            case "label": value = #""labels":{"a":"\#(text)"}"#
            default: value = #""labels":{"\#(text)":""}"#
            }
            return #"{"command":"x",\#(value)}"#
        }
        #expect(try await client.send(.put, "/v1/services/web", body(limit)).status == 201)
        #expect(try await client.send(.put, "/v1/services/web", body(more)).status == 422)
    }

    @Test(arguments: [
        ("exec a", true), ("a b", true), ("a; exec b", true), ("a && exec b 'c; d'", true), ("a\nexec b\n", true),
        ("exec \"a; b\"", true), ("a; b", false), ("exec a; b", false), ("exec a &", true), ("echo 'exec b'; c", false),
    ])
    func `the main process gets the stop signal alone where it is no shell`(command: String, isTaken: Bool) async throws
    {
        var body: JSONObject = JSONObject()
        body.append("command", .string(command))
        body.append("stop_mode", "main")
        let text = String(decoding: JSONValue.object(body).encoded(), as: UTF8.self)
        #expect(try await client.send(.put, "/v1/services/web", text).status == (isTaken ? 201 : 422))
    }

    @Test func `an account cannot set what reaches root`() async throws {
        let caller = Caller.account(uid: 1000, pid: 1, Account(uid: 1000, name: "alice", home: "/home/alice"))
        let body = #"{"command":"x","group":"root","writable":["/etc"],"stop_timeout":91,"log_rate_limit":1001}"#
        let reply = try await client.send(.put, "/v1/services/web", body, from: caller)
        #expect(reply.status == 422)
        #expect(try Set(reply.details) == ["group", "writable", "stop_timeout", "log_rate_limit"])
        let taken = #"{"command":"x","description":"a","stop_timeout":90,"log_rate_limit":1000,"limits":{"tasks":9}}"#
        #expect(try await client.send(.put, "/v1/services/web", taken, from: caller).status == 201)
    }

    // MARK: Changes

    @Test func `a change keeps what it does not name, and null is the default`() async throws {
        let body = #"{"name":null,"port":9000,"env":null,"restart_limit":null}"#
        let reply = try await client.send(.patch, "/v1/services/web?restart=false", body)
        #expect(reply.status == 200)
        #expect(client.control.calls == ["change web later"])
        let spec = try #require(client.control.specs.last)
        let before = Samples.running.record.spec
        #expect(spec.port == 9000)
        #expect(spec.environment.isEmpty)
        #expect(spec.restartLimit == nil)
        #expect((spec.command, spec.workingDirectory) == (before.command, before.workingDirectory))
        #expect(spec.name == before.name)
    }

    @Test func `an account's change drops what it may not set`() async throws {
        var draft = SpecDraft()
        draft["name"] = "web"
        draft["command"] = "x"
        draft["user"] = "alice"
        draft["group"] = "adm"
        draft["writable"] = ["/srv"]
        draft["stop_timeout"] = 3600
        draft["umask"] = "077"
        let service = Samples.service(draft, UnitState())
        let caller = Caller.account(uid: 1000, pid: 1, Account(uid: 1000, name: "alice", home: "/home/alice"))
        _ = try await client.send(.get, "/v1/services", from: caller)
        let control = try #require(client.control.state.withLock { $0.accounts[1000] })
        control.state.withLock { $0.services = [service] }
        #expect(try await client.send(.patch, "/v1/services/web", #"{"port":1}"#, from: caller).status == 200)
        let spec = try #require(control.specs.last)
        #expect(spec.account == 1000)
        let changed = spec.differences(from: service.record.spec).map(\.key)
        #expect(changed == ["port", "group", "stop_timeout", "writable", "log_rate_limit"])
        let reply = try await client.send(.patch, "/v1/services/web", #"{"group":"adm"}"#, from: caller)
        #expect(try reply.details == ["group"])
    }

    @Test(arguments: [(#"{"name":"other"}"#, "name"), (#"{"port":0}"#, "port"), (#"{"command":null}"#, "command")])
    func `a change that is none is refused`(body: String, field: String) async throws {
        let reply = try await client.send(.patch, "/v1/services/web", body)
        #expect(reply.status == 422)
        #expect(try reply.details == [field])
        #expect(client.control.specs.isEmpty)
    }

    @Test func `a service is created without a start, and replaced without a restart`() async throws {
        let body = #"{"name":"web","command":"x"}"#
        #expect(try await client.send(.post, "/v1/services?start=false", body).status == 201)
        #expect(try await client.send(.put, "/v1/services/web?restart=false", body).status == 201)
        #expect(client.control.calls == ["create web stopped", "replace web later"])
        #expect(try await client.send(.post, "/v1/services?start=no", body).status == 400)
    }

    @Test func `an id in the path of a PUT is the service's`() async throws {
        let id = "0b0f9c0e-54c5-4a52-9d1c-3f1d2b7b9f10"
        #expect(try await client.send(.put, "/v1/services/\(id)", #"{"command":"x"}"#).status == 201)
        #expect(client.control.calls == ["service \(id)", "replace web"])
    }

    // MARK: Dry runs

    @Test func `a dry run says what would be and changes nothing`() async throws {
        let put = try await client.send(
            .put,
            "/v1/services/web?dry_run=true",
            #"{"command":"other","port":8000,"env":{"B":"2","A":"1"}}"#
        )
        #expect(put.status == 200)
        let verdict = try #require(try put.object["data"]?.object)
        #expect(verdict["verdict"] == "changed")
        #expect(verdict["changed"] == ["command"])
        #expect(verdict["restarts"] == true)
        #expect(verdict["unit"]?.text?.hasPrefix("[Unit]\n# web id-1") == true, "\(verdict)")
        let patch = try await client.send(.patch, "/v1/services/web?dry_run=true", #"{"port":1}"#)
        #expect(try patch.object["data"]?.object?["restarts"] == false)
        #expect(try patch.object["data"]?.object?["changed"] == ["port"])
        #expect(client.control.specs.isEmpty)
        let taken = try await client.send(.post, "/v1/services?dry_run=true", #"{"name":"web","command":"x"}"#)
        #expect(taken.status == 409)
        client.control.state.withLock { $0.services = [] }
        let new = try await client.send(.post, "/v1/services?dry_run=true", #"{"name":"web","command":"x"}"#)
        #expect(try new.object["data"]?.object?["verdict"] == "created")
        #expect(
            try await client.send(.post, "/v1/services?dry_run=true", #"{"name":"a-","command":"x"}"#).status == 422
        )
    }

    // MARK: Signals

    @Test func `a signal is sent by its name`() async throws {
        #expect(try await client.send(.post, "/v1/services/web/signal", #"{"signal":"SIGUSR1"}"#).status == 200)
        #expect(try await client.send(.post, "/v1/services/web/signal", #"{"signal":"RTMIN+3"}"#).status == 200)
        #expect(try await client.send(.post, "/v1/services/web/reload").status == 200)
        #expect(client.control.calls == ["signal web 10", "signal web 37", "signal web reload"])
        client.control.fail(with: .noReload)
        let reply = try await client.send(.post, "/v1/services/web/reload")
        #expect(reply.status == 409)
        #expect(try reply.code == "NO_RELOAD")
    }

    @Test(arguments: [
        ("{}", 422), (#"{"signal":10}"#, 422), (#"{"signal":"X"}"#, 422), (#"{"signal":"HUP","x":1}"#, 422),
        ("[]", 400),
        ("", 400),
    ])
    func `a signal that is none is refused`(body: String, status: Int) async throws {
        #expect(try await client.send(.post, "/v1/services/web/signal", body).status == status)
        #expect(client.control.calls.isEmpty)
    }

    // MARK: Labels

    @Test func `services are found by their labels`() async throws {
        func service(_ name: String, _ labels: JSONValue) -> Service {
            var draft = SpecDraft()
            draft["name"] = .string(name)
            draft["command"] = "x"
            draft["labels"] = labels
            return Samples.service(draft, UnitState())
        }
        let services = [service("a", ["team": "web", "tier": "1"]), service("b", ["team": "db"]), service("c", [:])]
        client.control.state.withLock { $0.services = services }
        func names(_ query: String) async throws -> [String] {
            let list = try await client.send(.get, "/v1/services?\(query)").object["data"]?.array ?? []
            return list.compactMap { $0.object?["name"]?.text }
        }
        #expect(try await names("label=team=web") == ["a"])
        #expect(try await names("label=team") == ["a", "b"])
        #expect(try await names("label=team=web&label=tier=2") == [])
        #expect(try await names("label=team%3Ddb") == ["b"])
        #expect(try await client.send(.get, "/v1/services?label=").status == 400)
    }
}
