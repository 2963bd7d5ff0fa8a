import HTTP
import JSON
import Services
import Synchronization
import Testing

@testable import API

@Suite struct EventRoutesTests {
    private let client = Client()

    private func events(_ pieces: [EventPiece], lastEventID: String? = nil) async throws -> Reply {
        client.control.state.withLock { $0.eventPieces = pieces }
        var fields = Fields()
        if let lastEventID { fields.append("Last-Event-ID", lastEventID) }
        return try await client.send(.get, "/v1/events", fields: fields)
    }

    private static func event(_ sequence: Int, _ kind: ServiceEvent.Kind, _ service: Service = Samples.running)
        -> ServiceEvent
    {
        ServiceEvent(
            sequence: sequence,
            at: Timestamp(microseconds: 2_000_000),
            kind: kind,
            previousStatus: kind == .created ? nil : .starting,
            service: service
        )
    }

    /// The events of a stream: names, ids, and data.
    private static func parse(_ text: String) throws -> [(name: String?, id: String?, data: JSONObject)] {
        try text.split(separator: "\n\n").filter { !$0.hasPrefix(":") }.map { block in
            var name: String?
            var id: String?
            var data = JSONObject()
            for line in block.split(separator: "\n") {
                if line.hasPrefix("event: ") { name = String(line.dropFirst(7)) }
                if line.hasPrefix("id: ") { id = String(line.dropFirst(4)) }
                if line.hasPrefix("data: "),
                    case .object(let object) = try JSONParser.parse(Array(line.dropFirst(6).utf8))
                {
                    data = object
                }
            }
            return (name, id, data)
        }
    }

    @Test func `a snapshot, the word that it is complete, then every change`() async throws {
        let reply = try await events([
            .snapshot([Samples.running], sequence: 6, at: Client.now), .quiet,
            .events([Self.event(7, .created), Self.event(8, .state)]), .events([Self.event(9, .removed)]),
        ])
        #expect(reply.status == 200)
        #expect(reply["Content-Type"] == "text/event-stream")
        let text = try await reply.streamed
        #expect(text.contains("\n\n: nothing new\n\n"))
        let events = try Self.parse(text)
        #expect(events.map(\.name) == ["service", "ready", "service", "service", "service"])
        #expect(events.map(\.id) == [nil, "boot-6", "boot-7", "boot-8", "boot-9"])
        #expect(events[0].data.map(\.key) == ["seq", "at", "type", "previous_status", "snapshot", "service"])
        #expect(events[2].data.map(\.key) == ["seq", "at", "type", "previous_status", "service"])
        #expect(
            events.map { $0.data["type"] } == [
                .string("snapshot"), nil, .string("created"), .string("state"), .string("removed"),
            ]
        )
        #expect(events[0].data["snapshot"] == .bool(true))
        #expect(events[2].data["previous_status"] == .null)
        #expect(events[3].data["previous_status"] == .string("starting"))
        let statuses = events.map { event -> JSONValue? in
            guard case .object(let service) = event.data["service"] else { return nil }
            #expect(!service.contains { $0.key == "env" })
            return service["status"]
        }
        #expect(statuses == [.string("running"), nil, .string("running"), .string("running"), .string("removed")])
        #expect(!text.contains("\"1\""))
    }

    @Test func `who comes back says where`() async throws {
        _ = try await events([], lastEventID: "5f-2d-17")
        #expect(client.control.state.withLock { $0.positions } == [EventPosition(bootID: "5f-2d", sequence: 17)])
    }

    @Test(arguments: ["17", "boot-", "boot-x", "boot--", "-", "boot-99999999999999999999"])
    func `an id that is none is taken for one that is too old`(id: String) async throws {
        _ = try await events([], lastEventID: id)
        #expect(client.control.state.withLock { $0.positions } == [EventPosition(bootID: "", sequence: 0)])
    }

    @Test func `without an id everything is new`() async throws {
        _ = try await events([])
        #expect(client.control.state.withLock { $0.positions } == [nil])
    }

    @Test func `a gap is told and followed by a snapshot`() async throws {
        let text = try await events([.gap, .snapshot([], sequence: 3, at: Client.now)]).streamed
        let events = try Self.parse(text)
        #expect(events.map(\.name) == ["gap", "ready"])
        #expect(events[0].id == nil)
        #expect(events[0].data.map(\.key) == ["reason"])
    }

    @Test func `who is too slow is told so and sent away`() async throws {
        let text = try await events([.tooSlow, .events([Self.event(1, .state)])]).streamed
        #expect(try Self.parse(text).map(\.name) == ["gap"])
    }

    @Test func `options that are too long are left out`() async throws {
        var draft = SpecDraft()
        draft["name"] = "web"
        draft["command"] = "x"
        draft["writable"] = .array((0..<32).map { .string("/\($0)" + String(repeating: "a", count: 4000)) })
        let service = Samples.service(draft, UnitState())
        let text = try await events([.events([Self.event(1, .state, service)])]).streamed
        #expect(text.utf8.split(separator: UInt8(ascii: "\n")).map(\.count).max() ?? 0 <= 60 * 1024)
        #expect(text.contains("\"truncated\":true"))
        #expect(!text.contains("writable") && !text.contains("stop_timeout"))
        #expect(Self.event(1, .state, service).byteCount > 128_000)
        let short = try await events([.events([Self.event(1, .state, Samples.running)])]).streamed
        #expect(short.contains("\"writable\":[]") && short.contains("\"stop_timeout\":10"))
    }

    @Test(arguments: [
        (String(repeating: "x", count: 40_000), "/srv", false),
        (String(repeating: "\u{1}", count: 40_000), "/srv", true),
        ("x", "/" + String(repeating: "\u{1}", count: 4094), false),
        ("x", "/" + String(repeating: "d", count: 4094), false),
        (String(repeating: "\u{1}", count: 65_000), "/" + String(repeating: "\u{1}", count: 4094), true),
        (String(repeating: "x", count: 60_000), "/" + String(repeating: "d", count: 4094), true),
    ])
    func `long texts are cut so that the line can be read by everybody`(
        command: String,
        directory: String,
        isCut: Bool
    ) async throws {
        var draft = SpecDraft()
        draft["name"] = "web"
        draft["command"] = .string("#" + command)
        draft["cwd"] = .string(directory)
        var state = UnitState()
        state.activeState = .failed
        state.result = "exit-code"
        state.main.code = 1
        state.main.status = 200
        state.launchMark = LaunchMark(statusText: "launch: directory 2 (No such file or directory): \(directory)")
        state.main.startedAt = Client.now
        state.main.exitedAt = Client.now
        var record = Samples.service(draft, state).record
        record.run.observe(state, bootID: "boot")
        let service = Service(record: record, state: state, intent: .none)
        #expect(service.message?.contains("working directory") == true)
        let text = try await events([.events([Self.event(1, .state, service)])]).streamed
        let longest = text.utf8.split(separator: UInt8(ascii: "\n")).map(\.count).max() ?? 0
        #expect(longest <= 60 * 1024)
        #expect(text.contains("\"truncated\":true") == isCut)
        if isCut { #expect(longest > 10_000) }
    }

    @Test func `there is a limit to streams`() async throws {
        client.control.fail(with: .tooManyStreams(limit: 1))
        let reply = try await events([])
        #expect(reply.status == 429)
        #expect(reply["Retry-After"] != nil)
    }
}

@Suite struct TextForPeopleTests {
    private let client = Client()

    private func text(_ target: String, accept: String = "text/plain") async throws -> Reply {
        try await client.send(.get, target, fields: ["Accept": accept])
    }

    @Test func `the list is a table`() async throws {
        let reply = try await text("/v1/services")
        #expect(reply["Content-Type"] == "text/plain; charset=utf-8")
        #expect(
            reply.text == """
                NAME  STATUS   PID  SINCE  RESTARTS  COMMAND
                web   running  42   -      0         serve

                """
        )
    }

    @Test func `a long command is cut in the table and has no line ends`() async throws {
        var draft = SpecDraft()
        draft["name"] = "a-service-with-a-long-name"
        draft["command"] = .string("one\n\u{1B}[2J" + String(repeating: "x", count: 200))
        client.control.state.withLock { $0.services.append(Samples.service(draft, UnitState())) }
        let lines = try await text("/v1/services").text.split(separator: "\n")
        #expect(lines.count == 3)
        #expect(lines[1].hasPrefix("web                         running"))
        #expect(lines[2].hasSuffix("one\\x0a\\x1b[2J" + String(repeating: "x", count: 45) + "…"))
    }

    @Test func `a service is a page with its last lines`() async throws {
        client.control.state.withLock { $0.logPieces = [.entries([entry("one"), entry("two")])] }
        let reply = try await text("/v1/services/web")
        #expect(reply.text.hasPrefix("web\n     Status: running\n        PID: 42\n"))
        #expect(reply.text.contains("\n       Port: 8000\n"))
        #expect(reply.text.hasSuffix("\n\n1970-01-01T00:00:01.500Z stdout one\n1970-01-01T00:00:01.500Z stdout two\n"))
        #expect(client.control.state.withLock { $0.logQueries.map(\.tail) } == [10])
        #expect(!reply.text.contains("A=1"))
    }

    private func entry(_ line: String) -> LogEntry {
        LogEntry(timestamp: Timestamp(microseconds: 1_500_000), stream: .stdout, line: line, pid: 7, cursor: "c")
    }

    @Test func `an error is one line`() async throws {
        client.control.fail(with: .serviceNotFound)
        #expect(
            try await text("/v1/services/x").text == "error: service not found (SERVICE_NOT_FOUND, request made-1)\n"
        )
        #expect(try await text("/nothing").text == "error: no such path (NOT_FOUND, request made-1)\n")
        let reply = try await client.send(.post, "/v1/services", "{}", fields: ["Accept": "text/plain"])
        #expect(reply.status == 422)
        #expect(
            reply.text == "error: 'name' is required; 'command' is required (VALIDATION_ERROR, request made-1)\n"
        )
    }

    @Test(arguments: ["*/*", "application/json", "", "text/html", "application/json, text/plain"])
    func `whoever does not ask for text gets JSON`(accept: String) async throws {
        #expect(try await text("/v1/services", accept: accept)["Content-Type"] == "application/json")
        #expect(try await text("/v1/services/web", accept: accept)["Content-Type"] == "application/json")
        #expect(try await text("/nothing", accept: accept)["Content-Type"] == "application/json")
    }

    @Test func `what is kept for a repetition is JSON`() async throws {
        client.control.fail(with: .serviceExists)
        for _ in 0..<2 {
            let reply = try await client.send(
                .post,
                "/v1/services",
                #"{"name":"web","command":"x"}"#,
                fields: ["Accept": "text/plain", "Idempotency-Key": "k"]
            )
            #expect(try reply.code == "SERVICE_EXISTS")
            #expect(reply["Content-Type"] == "application/json")
        }
    }
}
