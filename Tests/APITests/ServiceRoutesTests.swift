import API
import HTTP
import JSON
import Services
import Synchronization
import Testing

struct ServiceRoutesTests {
    static let documented = [
        "id", "computer_id", "tenant_id", "name", "command", "env", "cwd", "restart", "status", "pid", "exit_code",
        "last_started_at", "last_exited_at", "created_at", "updated_at",
    ]
    static let own = [
        "working_dir", "restart_policy", "port", "user", "unit", "active_state", "sub_state", "result", "signal",
        "restarts", "boot_id", "invocation_id", "message", "pending", "sub_status",
        "drop_ins", "usage",
    ]

    private let client = Client()

    @Test func `a service has the documented fields in their order and then its own`() async throws {
        guard case .object(let service) = try await client.send(.get, "/v1/services/web").object["data"] else {
            Issue.record("no object")
            return
        }
        #expect(service.map(\.key) == Self.documented + Self.own + SpecFields.options.map(\.key))
        #expect(service["pid"] == .number(JSONNumber(42)))
        #expect(service["tenant_id"] == .null)
        #expect(service["created_at"] == .string("1970-01-01T00:00:01.000Z"))
        #expect(service["env"]?.encoded() == Array(#"{"A":"1","B":"2"}"#.utf8))
        #expect(service["working_dir"] == service["cwd"])
        #expect(service["restart_policy"] == service["restart"])
    }

    @Test func `a list has data and total and nothing else`() async throws {
        let reply = try await client.send(.get, "/v1/services").object
        #expect(reply.map(\.key) == ["data", "total"])
        #expect(reply["total"] == .number(JSONNumber(1)))
    }

    @Test(arguments: [
        ("running", 1), ("failed", 0), ("failed,running", 1), ("removed", 1), ("running,removed", 2),
    ])
    func `a list is filtered by status`(statuses: String, count: Int) async throws {
        let requester = Requester(uid: 7, requestID: "r-1")
        let time = Timestamp(microseconds: 0)
        client.control.state.withLock {
            $0.removed = [RemovedService(Samples.running.record, removedAt: time, removedBy: requester)]
        }
        let reply = try await client.send(.get, "/v1/services?status=\(statuses)")
        #expect(try reply.object["total"] == .number(JSONNumber(count)))
        if statuses == "removed" {
            #expect(reply.text.contains(#""removed_at":"1970-01-01T00:00:00.000Z""#))
            #expect(reply.text.contains(#""removed_by":{"identity":null,"uid":7,"request_id":"r-1"}"#))
            #expect(reply.text.contains(#""env":{}"#))
        }
    }

    @Test(arguments: ["", "up", "running,", "running,,failed", "Running"])
    func `an unknown status is a bad parameter`(statuses: String) async throws {
        #expect(try await client.send(.get, "/v1/services?status=\(statuses)").status == 400)
    }

    @Test(arguments: [
        (ControlError.serviceNotFound, 404, "SERVICE_NOT_FOUND", "service not found"),
        (.serviceExists, 409, "SERVICE_EXISTS", "a service with this name already exists"),
        (.serviceRunning, 409, "SERVICE_RUNNING", "service is already running"),
        (.serviceNotRunning, 409, "SERVICE_NOT_RUNNING", "service is not running"),
        (.tooManyServices(limit: 5), 429, "TOO_MANY_REQUESTS", "there are 5 services, the most that are kept"),
        (.systemdUnavailable("x"), 503, "SYSTEMD_UNAVAILABLE", "systemd cannot be reached: x"),
        (.systemdTimeout("x"), 504, "SYSTEMD_TIMEOUT", "systemd did not do it in time: x"),
        (.systemdRefused("x"), 409, "SYSTEMD_REFUSED", "systemd refuses the job: x"),
        (
            .superseded, 409, "SUPERSEDED",
            "another client of systemd has cancelled the job; what that one asked for holds"
        ),
        (.storageFull("x"), 507, "STORAGE_FULL", "cannot write to disk: x"),
        (.storageFailed("x"), 500, "STORAGE_FAILED", "cannot write to disk: x"),
    ])
    func `an error has its status and code and sentence`(
        error: ControlError,
        status: Int,
        code: String,
        sentence: String
    ) async throws {
        client.control.fail(with: error)
        let reply = try await client.send(.post, "/v1/services/web/start")
        #expect(reply.status == status)
        #expect(try reply.object.map(\.key) == ["error", "code", "details", "request_id"])
        #expect(try reply.code == code)
        #expect(try reply.object["error"] == .string(sentence))
        #expect((reply["Retry-After"] == "1") == [429, 503].contains(status))
        #expect(reply["Content-Type"] == "application/json")
    }

    @Test func `create answers 201 with the place below the mount that was asked`() async throws {
        let body = #"{"name":"web","command":"serve"}"#
        #expect(try await client.send(.post, "/v1/services", body)["Location"] == "/v1/services/web")
        let reply = try await client.send(.post, "/api/v1/computers/self/services", body)
        #expect(reply.status == 201)
        #expect(reply["Location"] == "/api/v1/computers/self/services/web")
        #expect(reply.reply.service == "web")
    }

    @Test func `put answers 201 for a new service and 200 for another`() async throws {
        let created = try await client.send(.put, "/v1/services/web", #"{"command":"serve"}"#)
        #expect(created.status == 201)
        #expect(created["Location"] == "/v1/services/web")
        client.control.state.withLock { $0.isNew = false }
        let replaced = try await client.send(.put, "/v1/services/web", #"{"command":"serve"}"#)
        #expect(replaced.status == 200)
        #expect(replaced["Location"] == nil)
    }

    @Test func `delete says who asked`() async throws {
        let fields: Fields = ["X-Request-Id": "r-9"]
        let reply = try await client.send(.delete, "/v1/services/web", fields: fields)
        #expect(reply.text == #"{"data":{"name":"web","status":"removed"}}"# + "\n")
        #expect(client.control.calls == ["delete web by 1000 r-9"])
    }

    @Test func `waiting is by id and for the time that was asked`() async throws {
        let reply = try await client.send(.post, "/v1/services/web/start?wait=ready&timeout=7")
        #expect(reply.status == 200)
        #expect(client.control.calls == ["start web", "wait ready id-1 7.0 seconds"])
    }

    @Test(arguments: ["running", "stopped"])
    func `other states can be waited for, and by a stop`(state: String) async throws {
        #expect(try await client.send(.post, "/v1/services/web/stop?wait=\(state)").status == 200)
        #expect(client.control.calls == ["stop web", "wait \(state) id-1 30.0 seconds"])
    }

    @Test func `a wait that ends in a failure has the last lines of the log`() async throws {
        let client = Client(ScriptedControl([Samples.failed]))
        let reply = try await client.send(.post, "/v1/services/web/restart?wait=ready")
        #expect(reply.status == 200)
        #expect(reply.text.hasSuffix(#"},"details":{"log":["last line"]}}"# + "\n"))
        #expect(try await !client.send(.post, "/v1/services/web/restart").text.contains("details"))
    }

    @Test func `a time-out alone waits for nothing`() async throws {
        #expect(try await client.send(.post, "/v1/services/web/start?timeout=7").status == 200)
        #expect(client.control.calls == ["start web"])
    }

    @Test(arguments: [
        "wait=x", "wait=", "timeout=0", "wait=ready&timeout=", "wait=ready&timeout=0", "wait=ready&timeout=301",
        "wait=ready&timeout=+1", "wait=ready&timeout=1e1",
    ])
    func `a bad wait is refused before anything is done`(query: String) async throws {
        #expect(try await client.send(.post, "/v1/services/web/start?\(query)").status == 400)
        #expect(client.control.calls.isEmpty)
    }

    @Test func `the published Python library reads pending for starting`() async throws {
        var state = UnitState()
        state.activeState = .activating
        let client = Client(ScriptedControl([Samples.service(Self.draft, state)]))
        let python: Fields = ["User-Agent": "miosa-python/2.19.2"]
        let reply = try await client.send(.get, "/v1/services/web", fields: python)
        #expect(reply.text.contains(#""status":"pending""#))
        let other = try await client.send(.get, "/v1/services/web", fields: ["User-Agent": "curl/8"])
        #expect(other.text.contains(#""status":"starting""#))
    }

    private static let draft = {
        var draft = SpecDraft()
        draft["name"] = "web"
        draft["command"] = "serve"
        return draft
    }()

    @Test(arguments: [("start", ControlError.serviceRunning), ("stop", .serviceNotRunning)])
    func `a repeated request whose work is done is answered with the service`(
        verb: String,
        error: ControlError
    ) async throws {
        let fields: Fields = ["Idempotency-Key": "k"]
        client.control.state.withLock { $0.errors[verb] = error }
        #expect(try await client.send(.post, "/v1/services/web/\(verb)", fields: fields).status == 409)
        client.control.state.withLock {
            $0.kept = [:]
            $0.begunAt = Timestamp(microseconds: 1)
        }
        let reply = try await client.send(.post, "/v1/services/web/\(verb)", fields: fields)
        #expect(reply.status == 200)
        #expect(try reply.object["data"]?.object?["name"] == .string("web"))
        #expect(client.control.calls == ["\(verb) web", "\(verb) web", "service web"])
    }

    @Test(arguments: [true, false])
    func `a repeated creation carries on with its own service alone`(isOwn: Bool) async throws {
        let body = #"{"name":"web","command":"serve"}"#
        _ = try await client.send(.post, "/v1/services", body)
        let spec = try #require(client.control.specs.last)
        let record = ServiceRecord(id: "id-1", spec: spec, createdAt: Timestamp(microseconds: 1000))
        client.control.state.withLock {
            $0.services = [Service(record: record, state: UnitState(), intent: .start)]
            $0.errors["create"] = .serviceExists
            $0.begunAt = Timestamp(microseconds: isOwn ? 999 : 1001)
        }
        let reply = try await client.send(.post, "/v1/services", body, fields: ["Idempotency-Key": "k"])
        #expect(reply.status == (isOwn ? 201 : 409))
        #expect(client.control.calls.contains("replace web") == isOwn)
    }

    @Test func `an idempotency key gives the first answer again`() async throws {
        let body = #"{"name":"web","command":"serve"}"#
        let fields: Fields = ["Idempotency-Key": "k"]
        let first = try await client.send(.post, "/v1/services", body, fields: fields)
        let again = try await client.send(.post, "/v1/services", body, fields: fields)
        #expect(again.status == 201)
        #expect(again.text == first.text)
        #expect(again["Location"] == first["Location"])
        #expect(client.control.calls == ["create web"])
        let other = try await client.send(.post, "/v1/services", body + " ", fields: fields)
        #expect(other.status == 422)
        #expect(try other.details == ["Idempotency-Key"])
    }

    @Test(arguments: [(ControlError.systemdUnavailable("x"), 503), (.tooManyServices(limit: 5), 429)])
    func `a failure under an idempotency key says when to try again`(error: ControlError, status: Int) async throws {
        client.control.fail(with: error)
        let reply = try await client.send(.post, "/v1/services/web/start", fields: ["Idempotency-Key": "k"])
        #expect(reply.status == status)
        #expect(reply["Retry-After"] == "1")
    }

    @Test(arguments: [(255, 201), (256, 400)])
    func `an idempotency key has a longest length`(length: Int, status: Int) async throws {
        let fields: Fields = ["Idempotency-Key": String(repeating: "k", count: length)]
        let body = #"{"name":"web","command":"serve"}"#
        #expect(try await client.send(.post, "/v1/services", body, fields: fields).status == status)
    }

    @Test func `the unit file is text`() async throws {
        let reply = try await client.send(.get, "/v1/services/web/unit")
        #expect(reply["Content-Type"] == "text/plain; charset=utf-8")
        #expect(reply.text == "[Unit]\n")
    }
}
