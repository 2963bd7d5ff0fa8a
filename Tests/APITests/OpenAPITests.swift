import HTTP
import JSON
import Services
import Synchronization
import Testing

@testable import API

/// The description of the API says what the API does: neither can change without the other.
struct OpenAPITests {
    private let document: OpenAPIDocument
    private let client = Client()

    init() throws { document = try OpenAPIDocument() }

    @Test func `the file is served as it is`() async throws {
        let reply = try await client.send(.get, "/openapi.json")
        #expect(reply.status == 200)
        #expect(reply["Content-Type"] == "application/json")
        #expect(try reply.reply.response.body == Repository.bytes(of: "Sources/API/openapi.json"))
        #expect(try await client.send(.head, "/openapi.json").status == 200)
        #expect(try await client.send(.get, "/openapi.json", from: .tcp(address: "127.0.0.1:1")).status == 401)
    }

    @Test func `every route is described and nothing else is`() throws {
        let described = try document.operations.map(\.line)
        let served = Routes.all.map { "\($0.method) \($0.pattern)" }
        for line in Set(served).subtracting(described) { Issue.record("served, but not described: \(line)") }
        for line in Set(described).subtracting(served) { Issue.record("described, but not served: \(line)") }
    }

    @Test func `a route's parameters and access are the described ones`() throws {
        let operations = Dictionary(uniqueKeysWithValues: try document.operations.map { ($0.line, $0) })
        for route in Routes.all {
            let line = "\(route.method) \(route.pattern)"
            guard let operation = operations[line] else { continue }
            #expect(operation.parameterNames(in: "query").sorted() == route.parameters.sorted(), "\(line)")
            let segments = route.pattern.split(separator: "/").filter { $0.hasPrefix("{") }
            #expect(
                operation.parameterNames(in: "path") == segments.map { String($0.dropFirst().dropLast()) },
                "\(line)"
            )
            #expect((operation.object["security"] == []) == (route.role == nil), "\(line)")
            #expect((operation.responses["401"] != nil) == (route.role != nil), "\(line)")
            let hasKey = operation.parameterNames(in: "header").contains(Idempotency.field)
            #expect(hasKey == (route.method == .post), "\(line)")
        }
    }

    @Test func `both mounts are described alike`() throws {
        let operations = try document.operations
        for operation in operations where operation.path.hasPrefix("/v1") {
            let path = Routes.mounts[1] + operation.path.dropFirst(Routes.mounts[0].count)
            let twin = try #require(operations.first { $0.line == "\(operation.method) \(path)" }, "\(path)")
            #expect(twin.parameters.filter { $0["name"] != "computer" } == operation.parameters, "\(path)")
            #expect(twin.object["requestBody"] == operation.object["requestBody"], "\(path)")
            #expect(twin.object["summary"] == operation.object["summary"], "\(path)")
            // Only there a path can name another computer.
            #expect(twin.responses["404"] != nil, "\(path)")
            #expect(
                twin.responses.filter { $0.key != "404" } == operation.responses.filter { $0.key != "404" },
                "\(path)"
            )
        }
    }

    @Test func `an operation has an id of its own`() throws {
        let ids = try document.operations.map { $0.object["operationId"]?.text ?? "" }
        #expect(!ids.contains(""))
        #expect(Set(ids).count == ids.count)
    }

    @Test func `the limits are those of the code`() throws {
        let schemas = "components/schemas"
        let badRequest = "components/responses/BadRequest/content/application~1json"
        let limits: [String: Int] = [
            "\(schemas)/Name/maxLength": ServiceName.lengthLimit + ".\(UInt32.max)".count,
            "\(schemas)/NameAgain/maxLength": ServiceName.lengthLimit,
            "\(schemas)/UnusedName/maxLength": ServiceName.lengthLimit,
            "\(schemas)/ServiceFields/properties/port/minimum": SpecLimits.portRange.lowerBound,
            "\(schemas)/ServiceFields/properties/port/maximum": SpecLimits.portRange.upperBound,
            "\(schemas)/ServiceFields/properties/exit_code/minimum": 0,
            "\(schemas)/ServiceFields/properties/exit_code/maximum": Int(UInt8.max),
            "\(schemas)/RequestID/maxLength": RequestID.lengthLimit,
            "components/parameters/Timeout/schema/minimum": 1,
            "components/parameters/Timeout/schema/maximum": Wait.secondsLimit,
            "components/parameters/Timeout/schema/default": Wait.defaultSeconds,
            "components/parameters/Idempotency-Key/schema/maxLength": KeptAnswer.keyBytesLimit,
            "components/parameters/Tail/schema/anyOf/0/minimum": 0,
            "components/parameters/Tail/schema/anyOf/0/maximum": LogQuery.tailLimit,
            "components/parameters/Tail/schema/default": LogQuery.defaultTail,
            "components/parameters/Lines/schema/anyOf/0/minimum": 0,
            "components/parameters/Lines/schema/anyOf/0/maximum": LogQuery.tailLimit,
            "components/parameters/AuditLimit/schema/minimum": 1,
            "components/parameters/AuditLimit/schema/maximum": AuditQuery.limitLimit,
            "components/parameters/AuditLimit/schema/default": AuditQuery.defaultLimit,
            "\(schemas)/RunListDocument/properties/data/maxItems": EndedRun.countLimit,
            "\(schemas)/RunFields/properties/exit_code/minimum": 0,
            "\(schemas)/RunFields/properties/exit_code/maximum": Int(UInt8.max),
            // No limits of anybody's, but what the figures are.
            "\(schemas)/AuditDocument/properties/total/minimum": 0,
            "\(schemas)/AuditEntry/properties/peer/properties/cid/minimum": 0,
            "\(schemas)/AuditEntry/properties/peer/properties/pid/minimum": 0,
            "\(schemas)/AuditEntry/properties/peer/properties/uid/minimum": 0,
            "\(schemas)/Count/minimum": 0,
            "\(schemas)/LogLine/properties/pid/minimum": 1,
            "\(schemas)/RemovedService/properties/removed_by/properties/uid/minimum": 0,
            "\(schemas)/RunFields/properties/n/minimum": 1,
            "\(schemas)/RunFields/properties/memory_peak/minimum": 0,
            "\(schemas)/RunFields/properties/cpu_ms/minimum": 0,
            "\(schemas)/RunListDocument/properties/total/minimum": 0,
            "components/parameters/RunNumber/schema/minimum": 1,
            "\(schemas)/ServiceFields/properties/pid/minimum": 1,
            "\(schemas)/ServiceFields/properties/restarts/minimum": 0,
            "\(schemas)/ServiceListDocument/properties/total/minimum": 0,
            "\(schemas)/Usage/properties/memory/minimum": 0,
            "\(schemas)/Usage/properties/cpu_ms/minimum": 0,
            "\(schemas)/Usage/properties/tasks/minimum": 0,
            "components/headers/Retry-After/schema/minimum": 1,
            "\(badRequest)/schema/allOf/1/properties/details/properties/offset/minimum": 0,
        ]
        let keys: Set<String> = [
            "default", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "maxLength", "maxProperties",
            "maxItems", "multipleOf",
        ]
        let described = document.values(of: keys)
        for (place, limit) in limits { #expect(described[place] == .number(JSONNumber(limit)), "\(place)") }
        // Those of the fields of a spec are the declarations': `SpecDocumentsTests`.
        let fields = SpecFields.all.map { "\(schemas)/\(SpecDocuments.schemaName(of: $0))/" }
        for place in described.keys where limits[place] == nil && !fields.contains(where: place.hasPrefix) {
            Issue.record("a limit of nobody's: \(place)")
        }
    }

    @Test func `figures in sentences are those of the code`() throws {
        let limits = Limits()
        let figures: [(place: String, text: String)] = [
            ("components/responses/ContentTooLarge", "\(limits.bodyBytesLimit) bytes"),
            ("components/responses/URITooLong", "\(limits.requestTargetBytesLimit) bytes"),
            ("components/responses/RequestHeaderFieldsTooLarge", "\(limits.headerBytesLimit) bytes"),
            ("components/responses/RequestHeaderFieldsTooLarge", "\(limits.headerFieldsLimit) fields"),
            ("paths/~1v1~1services/get", "newest \(RemovedService.countLimit)"),
            ("components/parameters/Idempotency-Key", "\(KeptAnswer.lifetimeSeconds / 3600) hours"),
            ("components/parameters/X-Request-Id", "1 to \(RequestID.lengthLimit) "),
        ]
        for (place, text) in figures {
            let description = try #require(try document.value(at: "\(place)/description").text)
            #expect(description.contains(text), "\(place)")
        }
    }

    @Test func `the patterns have the code's lengths`() throws {
        let name = JSONValue.string("^[a-z][a-z0-9-]{0,\(ServiceName.lengthLimit - 1)}$")
        let stored = JSONValue.string("^[a-z][a-z0-9-]{0,\(ServiceName.lengthLimit - 1)}(\\.[1-9][0-9]{0,9})?$")
        #expect(try document.value(at: "components/schemas/Name/pattern") == stored)
        #expect(try document.value(at: "components/schemas/NameAgain/pattern") == name)
        let unused = JSONValue.string("^[a-z]([a-z0-9-]{0,\(ServiceName.lengthLimit - 2)}[a-z0-9])?$")
        #expect(try document.value(at: "components/schemas/UnusedName/pattern") == unused)
    }

    @Test func `the words are those of the code`() throws {
        let statuses = ServiceStatus.allCases.map(\.rawValue)
        let python = ClientDialect(["User-Agent": "miosa-python/1"])
        let others = ServiceStatus.allCases.map(python.word).filter { !statuses.contains($0) }
        #expect(try document.texts(at: "components/schemas/Status/enum") == statuses + others)
        #expect(try document.texts(at: "components/parameters/StatusFilter/schema/items/enum") == statuses)
        let alive = Set(statuses + others).subtracting([ServiceStatus.removed.rawValue])
        #expect(try Set(document.texts(at: "components/schemas/Service/properties/status/enum")) == alive)
        let policies = RestartPolicy.allCases.map(\.rawValue)
        #expect(try document.texts(at: "components/schemas/RestartPolicy/enum") == policies)
    }
}

/// What is described of answers is what is written.
struct OpenAPIAnswerTests {
    private let document: OpenAPIDocument
    private let client = Client()

    init() throws { document = try OpenAPIDocument() }

    private func required(_ schema: String) throws -> [String] {
        try document.texts(at: "components/schemas/\(schema)/required")
    }

    @Test func `a service has the described fields in their order`() async throws {
        let service = try await client.send(.get, "/v1/services/web").object["data"]?.object
        let fields = try required("ServiceFields")
        #expect(service?.map(\.key) == fields)
        #expect(try document.object(at: "components/schemas/ServiceFields/properties").map(\.key) == fields)
        #expect(try document.value(at: "components/schemas/Service/unevaluatedProperties") == false)
        let example = try document.value(at: "components/schemas/Service/examples").array?.first?.object
        #expect(example?.map(\.key) == fields)
    }

    @Test func `an audit record has the described fields in their order`() async throws {
        client.control.state.withLock {
            let requester = Requester(uid: 7, requestID: "r-1")
            let time = Timestamp(microseconds: 0)
            $0.removed = [RemovedService(Samples.running.record, removedAt: time, removedBy: requester)]
        }
        let list = try await client.send(.get, "/v1/services?status=removed").object
        #expect(list.map(\.key) == (try required("ServiceListDocument")))
        let record = list["data"]?.array?.first?.object
        #expect(record?.map(\.key) == (try required("ServiceFields") + required("RemovedService")))
        #expect(try document.value(at: "components/schemas/RemovedService/unevaluatedProperties") == false)
    }

    @Test func `a line of a log has the described fields in their order`() async throws {
        let entry = LogEntry(timestamp: Client.now, stream: .stderr, line: "x", pid: nil, cursor: "c")
        let long = LogEntry(
            timestamp: Client.now,
            stream: .stdout,
            line: String(repeating: "x", count: 60_000),
            pid: 1,
            cursor: "c"
        )
        client.control.state.withLock { $0.logPieces = [.entries([entry, long])] }
        let reply = try await client.send(.get, "/v1/services/web/logs", fields: ["Accept": "application/x-ndjson"])
        let text = try await reply.streamed
        let lines = try text.split(separator: "\n").map { try JSONParser.parse(Array($0.utf8)).object?.map(\.key) }
        let fields = try required("LogLine")
        let all = try document.object(at: "components/schemas/LogLine/properties").map(\.key)
        #expect(lines == [fields, all])
        #expect(all == fields + ["truncated"])
    }

    @Test func `an event has the described fields and kinds`() async throws {
        var draft = SpecDraft()
        draft["name"] = "web"
        draft["command"] = .string("#" + String(repeating: "\u{1}", count: 60_000))
        let long = Samples.service(draft, UnitState())
        let events = ServiceEvent.Kind.allCases.map {
            ServiceEvent(
                sequence: 1,
                at: Client.now,
                kind: $0,
                previousStatus: nil,
                service: long,
                run: $0 == .run ? EndedRun(number: 1, cause: .exited, isRestarted: false) : nil
            )
        }
        let pieces: [EventPiece] = [.snapshot([Samples.running], sequence: 0, at: Client.now), .events(events)]
        client.control.state.withLock { $0.eventPieces = pieces }
        let text = try await client.send(.get, "/v1/events").streamed
        let data = try text.split(separator: "\n").filter { $0.hasPrefix("data: ") && $0.contains("previous_status") }
            .compactMap { try JSONParser.parse(Array($0.dropFirst(6).utf8)).object }
        #expect(data.count == 1 + events.count)
        let fields = try required("ServiceEvent")
        let all = try document.object(at: "components/schemas/ServiceEvent/properties").map(\.key)
        #expect(Set(data.flatMap { $0.map(\.key) }) == Set(all))
        #expect(data.allSatisfy { Set(fields).isSubset(of: $0.map(\.key)) })
        let kinds = try document.texts(at: "components/schemas/ServiceEvent/properties/type/enum")
        #expect(Set(data.compactMap { if case .string(let kind) = $0["type"] { kind } else { nil } }) == Set(kinds))
        let service = try required("ServiceFields").filter { $0 != "env" }
        #expect(data.allSatisfy { $0["service"]?.object?.map(\.key) == service })
    }

    @Test func `a run has the described fields in their order`() async throws {
        let first = EndedRun(number: 1, cause: .exited, isRestarted: true)
        var details = RunDetails(run: EndedRun(number: 2, cause: .oomLimit, isRestarted: false))
        details.changes = RunChanges(from: first, to: details.run)
        client.control.state.withLock { $0.runs = [details] }
        let fields = try required("RunFields")
        let list = try await client.send(.get, "/v1/services/web/runs").object
        #expect(list.map(\.key) == (try required("RunListDocument")))
        #expect(list["data"]?.array?.first?.object?.map(\.key) == fields)
        let run = try await client.send(.get, "/v1/services/web/runs/2").object["data"]?.object
        #expect(run?.map(\.key) == (try fields + required("RunDetails")))
        let changes = "components/schemas/RunDetails/properties/changes/anyOf/1"
        #expect(run?["changes"]?.object?.map(\.key) == (try document.texts(at: "\(changes)/required")))
        let causes = try document.texts(at: "components/schemas/RunFields/properties/cause/enum")
        #expect(causes == EndedRun.Cause.allCases.map(\.rawValue))
    }

    @Test func `the computer has the described fields in their order`() async throws {
        let computer = try await client.send(.get, "/v1").object["data"]?.object
        let schema = "components/schemas/ComputerDocument/properties/data"
        #expect(computer?.map(\.key) == (try document.texts(at: "\(schema)/required")))
        #expect(computer?.map(\.key) == (try document.object(at: "\(schema)/properties").map(\.key)))
        let counts = computer?["services"]?.object?.map(\.key)
        let described = try document.object(at: "\(schema)/properties/services/properties").map(\.key)
        #expect(counts == described.filter { $0 != "pending" })
    }

    @Test func `an error has the described fields in their order`() async throws {
        let error = try await client.send(.get, "/nowhere").object
        #expect(error.map(\.key) == (try required("Error")))
        #expect(error.map(\.key) == (try document.object(at: "components/schemas/Error/properties").map(\.key)))
    }

    @Test func `every code of the API is described with its status and no other is`() throws {
        var described: Set<String> = []
        for operation in try document.operations {
            for (status, response) in operation.responses {
                for code in document.codes(of: response) { described.insert("\(status) \(code)") }
            }
        }
        // No operation has it: it is the answer to a method that a path has not.
        for code in document.codes(of: try document.object(at: "components/responses/MethodNotAllowed")) {
            described.insert("405 \(code)")
        }
        let statuses = Dictionary(
            uniqueKeysWithValues: (400...599).map(StatusCode.init(code:)).filter { !$0.reasonPhrase.isEmpty }
                .map { ($0.reasonPhrase.replacing(" ", with: "").lowercased(), $0) }
        )
        var made: Set<String> = []
        let api = try Repository.sources(below: "Sources/API")
        for match in api.matches(of: #/(?:Failure|self\.init)\(\s*\.([A-Za-z]+),\s*"([A-Z_]+)"/#) {
            let status = try #require(statuses[match.1.lowercased()])
            made.insert("\(status.code) \(match.2)")
        }
        // Those that the layers below choose by status.
        let below = try Repository.sources(below: "Sources/HTTP") + Repository.sources(below: "Sources/HTTPServer")
        for match in below.matches(of: #/ParseFailure\(\s*status:\s*\.([A-Za-z]+)/#) {
            let status = try #require(statuses[match.1.lowercased()])
            made.insert("\(status.code) \(Failure(ParseFailure(status: status, reason: "x")).code)")
        }
        for pair in made.subtracting(described) { Issue.record("made, but not described: \(pair)") }
        for pair in described.subtracting(made) { Issue.record("described, but not made: \(pair)") }
        let codes = try document.texts(at: "components/schemas/ErrorCode/enum")
        #expect(Set(codes) == Set(made.map { String($0.split(separator: " ")[1]) }))
        #expect(Set(codes).count == codes.count)
    }
}

/// What is described of bodies is what is taken.
struct OpenAPIBodyTests {
    private let document: OpenAPIDocument

    init() throws { document = try OpenAPIDocument() }

    @Test func `the fields of a body are those that are taken`() throws {
        let taken = SpecFields.all.flatMap { [$0.key] + $0.aliases.map(\.key) }
        for schema in ["CreateService", "PutService", "PatchService"] {
            let described = try document.object(at: "components/schemas/\(schema)/properties").map(\.key)
            #expect(Set(described) == Set(taken), "\(schema)")
            #expect(try document.value(at: "components/schemas/\(schema)/additionalProperties") == false)
        }
    }

    @Test(arguments: [("CreateService", HTTP.Method.post, "/v1/services"), ("PutService", .put, "/v1/services/web")])
    func `what a body must have is what is required, and null is a field left out`(
        schema: String,
        method: HTTP.Method,
        target: String
    ) async throws {
        let client = Client()
        let required = try document.texts(at: "components/schemas/\(schema)/required")
        #expect(try await client.send(method, target, "{}").details == required)
        for field in try document.object(at: "components/schemas/\(schema)/properties") {
            let type = try document.resolved(field.value)
            let isNullable = type["type"]?.array?.contains("null") ?? type["enum"]?.array?.contains(.null) ?? false
            let reply = try await client.send(method, target, #"{"\#(field.key)":null}"#)
            #expect(isNullable != reply.text.contains("'\(field.key)' is required"), "\(field.key)")
            #expect(!reply.text.contains("is not a field"), "\(field.key)")
        }
    }

    /// The last one is of noncharacters, which no literal may have.
    static let texts =
        ["", " \t\n", "a", "/a", "/", "/a\nb", "/a\rb", "a\0", "/a\0", "/\u{7f}\u{85}", "é"]
        + ["/" + String(decoding: [0xffff, 0xfdd0, 0xd83f, 0xdffe] as [UInt16], as: UTF16.self)]

    @Test(arguments: texts)
    func `text is taken exactly where the pattern matches`(text: String) async throws {
        let schemas = "components/schemas"
        let patterns = [
            "command": ["Command/allOf/0", "Command/allOf/1"], "cwd": ["Cwd"], "user": ["User"],
        ]
        for (field, places) in patterns {
            var isMatched = true
            for place in places {
                let pattern = try #require(try document.value(at: "\(schemas)/\(place)/pattern").text)
                isMatched = try isMatched && OpenAPIDocument.isMatch(text, pattern)
            }
            var body = JSONObject()
            body.append(field, .string(text))
            if field != "command" { body.append("command", "x") }
            let bytes = String(decoding: JSONValue.object(body).encoded(), as: UTF8.self)
            let reply = try await Client().send(.put, "/v1/services/web", bytes)
            #expect((reply.status == 201) == isMatched, "\(field)")
        }
    }

    @Test func `the example of a body is taken`() async throws {
        let client = Client()
        let new = try #require(try document.value(at: "components/schemas/CreateService/examples").array?.first)
        let posted = try await client.send(.post, "/v1/services", String(decoding: new.encoded(), as: UTF8.self))
        #expect(posted.status == 201)
        let spec = try #require(try document.value(at: "components/schemas/PutService/examples").array?.first)
        let put = try await client.send(.put, "/v1/services/web", String(decoding: spec.encoded(), as: UTF8.self))
        #expect(put.status == 201)
    }
}
