import HTTP
import JSON
import Services
import Synchronization
import Testing

@testable import API

private func entry(
    _ line: String,
    _ stream: LogEntry.Stream = .stdout,
    cursor: String = "s=1;i=2"
) -> LogEntry {
    LogEntry(timestamp: Timestamp(microseconds: 1_500_000), stream: stream, line: line, pid: 7, cursor: cursor)
}

@Suite struct LogRoutesTests {
    private let client = Client()

    private func logs(
        _ accept: String? = nil,
        _ query: String = "",
        lastEventID: String? = nil,
        _ pieces: [LogPiece] = [.entries([entry("one")]), .quiet, .entries([entry("two", .stderr, cursor: "s=1;i=3")])]
    ) async throws -> Reply {
        client.control.state.withLock { $0.logPieces = pieces }
        var fields = Fields()
        if let accept { fields.append("Accept", accept) }
        if let lastEventID { fields.append("Last-Event-ID", lastEventID) }
        return try await client.send(.get, "/v1/services/web/logs\(query)", fields: fields)
    }

    private var lastQuery: LogQuery? { client.control.state.withLock { $0.logQueries.last } }

    private static let one =
        #"{"timestamp":"1970-01-01T00:00:01.500Z","stream":"stdout","line":"one","message":"one","#
        + #""service_id":"id-1","pid":7}"#
    private static let two =
        #"{"timestamp":"1970-01-01T00:00:01.500Z","stream":"stderr","line":"two","message":"two","#
        + #""service_id":"id-1","pid":7}"#

    @Test(arguments: [nil, "*/*", "text/plain", "text/*", "image/png", "text/plain;q=0.9, application/json;q=0.5"])
    func `text is what everybody gets who does not ask for anything else`(accept: String?) async throws {
        let reply = try await logs(accept)
        #expect(reply["Content-Type"] == "text/plain; charset=utf-8")
        #expect(
            try await reply.streamed == "1970-01-01T00:00:01.500Z stdout one\n1970-01-01T00:00:01.500Z stderr two\n"
        )
        #expect(lastQuery == LogQuery())
    }

    @Test func `an event stream has the cursor as id and shows that it is alive`() async throws {
        let reply = try await logs("text/event-stream")
        #expect(reply["Content-Type"] == "text/event-stream")
        #expect(
            try await reply.streamed
                == "id: s=1;i=2\ndata: \(Self.one)\n\n: nothing new\n\nid: s=1;i=3\ndata: \(Self.two)\n\n"
        )
        #expect(lastQuery?.isFollowing == true)
        #expect(lastQuery?.cursor == nil)
    }

    @Test func `lines of JSON`() async throws {
        let reply = try await logs("application/x-ndjson")
        #expect(reply["Content-Type"] == "application/x-ndjson")
        #expect(try await reply.streamed == "\(Self.one)\n\(Self.two)\n")
        #expect(lastQuery?.isFollowing == false)
    }

    @Test func `one document, which never follows`() async throws {
        let reply = try await logs("application/json", "?follow=true", [.entries([entry("one")])])
        #expect(reply["Content-Type"] == "application/json")
        #expect(try await reply.streamed == #"{"data":[\#(Self.one)],"total":1}"# + "\n")
        #expect(lastQuery?.isFollowing == false)
        #expect(try await logs("application/json", "", []).streamed == #"{"data":[],"total":0}"# + "\n")
    }

    @Test func `where to go on is told by the last event, for event streams only`() async throws {
        _ = try await logs("text/event-stream", lastEventID: "s=1;i=2")
        #expect(lastQuery?.cursor == "s=1;i=2")
        _ = try await logs("text/plain", lastEventID: "s=1;i=2")
        #expect(lastQuery?.cursor == nil)
    }

    @Test func `a reader who goes ends it`() async throws {
        let reply = try await logs("application/x-ndjson")
        let collector = Collector(limit: 1)
        let stream = try #require(reply.reply.stream)
        await #expect(throws: BodyStreamClosed.self) { try await stream.produce(collector) }
        #expect(collector.count == 1)
    }

    @Test(arguments: [("true", true), ("1", true), ("false", false), ("0", false)])
    func `to follow is asked for in words or figures`(text: String, isFollowing: Bool) async throws {
        for accept in ["text/plain", "text/event-stream"] {
            _ = try await logs(accept, "?follow=\(text)")
            #expect(lastQuery?.isFollowing == isFollowing)
        }
    }

    @Test(arguments: [
        ("tail=0", 0), ("tail=1000000", 1_000_000), ("lines=5", 5), ("tail=5&lines=5", 5), ("tail=007", 7),
        ("tail=all", nil), ("lines=all", nil), ("", 1000),
    ])
    func `how many lines`(query: String, tail: Int?) async throws {
        _ = try await logs(nil, "?\(query)")
        #expect(lastQuery?.tail == tail)
    }

    @Test(
        arguments: [
            ("0", .back(0)), ("-1", .back(1)), ("-1000", .back(1000)),
            ("5F0E9C7E2D4B4B2D9E1F0A1B2C3D4E5F", .id("5f0e9c7e2d4b4b2d9e1f0a1b2c3d4e5f")),
            ("5f0e9c7e-2d4b-4b2d-9e1f-0a1b2c3d4e5f", .id("5f0e9c7e2d4b4b2d9e1f0a1b2c3d4e5f")),
        ] as [(String, LogQuery.Boot)]
    )
    func `a boot`(text: String, boot: LogQuery.Boot) async throws {
        _ = try await logs(nil, "?boot=\(text)")
        #expect(lastQuery?.boot == boot)
    }

    @Test func `a period`() async throws {
        _ = try await logs(nil, "?since=90s&until=2026-01-31T12:00:00Z")
        #expect(lastQuery?.since == Timestamp(microseconds: Client.now.microseconds - 90_000_000))
        // Lines show milliseconds: all of the one that is named.
        #expect(lastQuery?.until == Timestamp(microseconds: Client.now.microseconds + 999))
    }

    @Test func `a line of a document is not cut`() async throws {
        let line = String(repeating: "x", count: 100_000)
        let reply = try await logs("application/json", "", [.entries([entry(line)])])
        let text = try await reply.streamed
        #expect(text.contains("\"line\":\"\(line)\""))
        #expect(!text.contains("truncated"))
    }

    @Test func `the log of a service that is deleted ends with an event`() async throws {
        let reply = try await logs("text/event-stream", "", [.entries([entry("one")]), .removed])
        let text = try await reply.streamed
        #expect(text.hasSuffix("event: end\ndata: {\"reason\":\"the service was deleted\"}\n\n"))
        #expect(
            try await logs("application/x-ndjson", "", [.entries([entry("one")]), .removed]).streamed == Self.one + "\n"
        )
    }

    @Test(arguments: [
        "tail=-1", "tail=1000001", "tail=", "tail=1e3", "tail=12345678", "lines=x", "tail=1&lines=2", "follow=",
        "follow=yes",
        "since=", "since=now", "until=2026-02-30T00:00:00Z", "boot=1", "boot=-1001", "boot=", "boot=xyz",
        "boot=5f0e9c7e2d4b4b2d9e1f0a1b2c3d4e5", "unknown=1",
    ])
    func `a bad parameter is refused by its name`(query: String) async throws {
        let reply = try await logs(nil, "?\(query)")
        #expect(reply.status == 400)
        #expect(try reply.code == "BAD_REQUEST")
        #expect(reply.text.contains("'\(query.prefix { $0 != "=" })'"))
        #expect(client.control.calls.isEmpty)
    }

    @Test(arguments: [
        (ControlError.serviceNotFound, 404, "SERVICE_NOT_FOUND"), (.badCursor, 400, "BAD_REQUEST"),
        (.bootNotFound, 404, "NOT_FOUND"), (.tooManyStreams(limit: 1), 429, "TOO_MANY_REQUESTS"),
        (.journalUnavailable("x"), 503, "SYSTEMD_UNAVAILABLE"),
    ])
    func `what keeps a log from being read`(error: ControlError, status: Int, code: String) async throws {
        client.control.fail(with: error)
        let reply = try await logs()
        #expect(reply.status == status)
        #expect(try reply.code == code)
    }
}

@Suite struct LogLineTests {
    private static let dataBytesLimit = 60 * 1024 - 6

    /// How long the object is around two copies of the line.
    private static let frame = LogLine.json(entry(""), serviceID: "id-1").count

    @Test(arguments: [("x", 1), ("é", 2), ("\"", 2), ("\u{1}", 6), ("\u{2028}", 6), ("日", 3)])
    func `a line is cut when it makes the object too long, and no earlier`(character: String, bytes: Int) throws {
        let room = (Self.dataBytesLimit - Self.frame) / 2 / bytes
        let longest = LogLine.json(entry(String(repeating: character, count: room)), serviceID: "id-1")
        #expect(longest.count <= Self.dataBytesLimit)
        #expect(!String(decoding: longest, as: UTF8.self).contains("truncated"))
        let cut = LogLine.json(entry(String(repeating: character, count: room + 1)), serviceID: "id-1")
        #expect(cut.count <= Self.dataBytesLimit)
        guard case .object(let object) = try JSONParser.parse(cut) else {
            Issue.record("no object")
            return
        }
        #expect(object["truncated"] == .bool(true))
        guard case .string(let line) = object["line"] else {
            Issue.record("no line")
            return
        }
        #expect(object["message"] == .string(line))
        #expect(line.unicodeScalars.count > room - 20)
        #expect(line.unicodeScalars.count <= room)
    }

    @Test func `what some take for the end of a line is escaped`() {
        let text = String(
            decoding: LogLine.json(entry("a\u{85}b\u{2028}c\u{2029}dé\u{2027}"), serviceID: "x"),
            as: UTF8.self
        )
        #expect(text.contains(#""line":"a\u0085b\u2028c\u2029dé"# + "\u{2027}\""))
    }

    @Test(arguments: [
        ("plain\ttext é", "plain\ttext é"), ("\u{1B}[1;31mred\u{1B}[0m", "red"), ("\u{1B}[2J", "\\x1b[2J"),
        ("\u{1B}]0;title\u{7}", "\\x1b]0;title\\x07"), ("\u{1B}[31", "\\x1b[31"),
        ("a\rb\u{7F}\u{9B}", "a\\x0db\\x7f\\x9b"),
        ("\u{1B}", "\\x1b"), ("\u{1B}[m", ""), ("", ""),
    ])
    func `a terminal gets no commands`(line: String, printable: String) {
        #expect(PlainText.printable(line) == printable)
    }
}

@Suite struct TimeParameterTests {
    private static let now = Client.now

    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0), ("2026-01-31T12:00:00Z", 1_769_860_800_000_000),
        ("2026-01-31t12:00:00.5z", 1_769_860_800_500_000), ("2026-01-31T13:30:00+01:30", 1_769_860_800_000_000),
        ("2026-01-31T11:00:00-01:00", 1_769_860_800_000_000), ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
        ("2026-01-31 12:00:00.123456789Z", 1_769_860_800_123_456), ("1969-12-31T23:59:59Z", -1_000_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000_000),
        ("1769860800", 1_769_860_800_000_000), ("1769860800.25", 1_769_860_800_250_000), ("0", 0),
        ("90s", 1_769_860_710_000_000), ("1h30m", 1_769_855_400_000_000), ("1d", 1_769_774_400_000_000),
        ("2w", 1_768_651_200_000_000), ("0s", 1_769_860_800_000_000),
        ("0000-01-01T00:00:00Z", -62_167_219_200_000_000), ("0000-03-01T00:00:00Z", -62_162_035_200_000_000),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
    ])
    func `a moment is a time, seconds or an age`(text: String, microseconds: Int64) {
        #expect(TimeParameter.parse(text, now: Self.now) == Timestamp(microseconds: microseconds))
    }

    @Test(arguments: [
        "", " ", "now", "yesterday", "2026-01-31", "2026-01-31T12:00:00", "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z", "2026-02-29T00:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:61Z", "2026-01-31T12:00:00.Z", "2026-01-31T12:00:00.1234567890Z", "2026-01-31T12:00:00+1:00",
        "2026-01-31T12:00:00+24:00", "2026-01-31T12:00:00Zx", "+1", "-1", "1.", ".5", "1.5.5", "1e9", "1h30", "h",
        "1 h",
        "1x", "1234567890123", "1234567890s", "٣s", "99999w", "999999999w", "1s999999999w999999999w",
    ])
    func `anything else is none`(text: String) {
        #expect(TimeParameter.parse(text, now: Self.now) == nil)
    }

    @Test func `a time that was printed is read as the same`() {
        for microseconds in stride(
            from: Int64(-5_000_000_000_000_000),
            to: 9_000_000_000_000_000,
            by: 86_399_123_456_789
        ) {
            let moment = Timestamp(microseconds: microseconds / 1000 * 1000)
            #expect(TimeParameter.parse(moment.description, now: Self.now) == moment, "\(moment)")
        }
    }
}

@Suite struct AcceptTests {
    private static let offers = ["text/plain", "text/event-stream", "application/json"]

    @Test(arguments: [
        ("", "text/plain"), ("*/*", "text/plain"), ("text/*", "text/plain"), ("image/png", "text/plain"),
        ("application/json", "application/json"), ("APPLICATION/JSON; charset=utf-8", "application/json"),
        ("text/event-stream, */*;q=0.1", "text/event-stream"), ("application/*", "application/json"),
        ("text/plain;q=0.5, application/json;q=0.6", "application/json"),
        ("text/plain;q=0.500,application/json;q=0.50", "text/plain"),
        ("*/*, text/plain;q=0", "text/event-stream"), ("text/plain ; q=0.1 , text/*", "text/event-stream"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "text/plain"),
        ("application/json;q=x, text/event-stream", "text/event-stream"),
        (",, ;q=1, application/json", "application/json"),
    ])
    func `the client's favourite is taken`(accept: String, best: String) {
        let fields: Fields = accept.isEmpty ? [:] : ["Accept": accept]
        #expect(Accept(fields).best(of: Self.offers) == best)
    }
}
