import HTTP
import JSON
import Services
import Synchronization
import Testing

@testable import API

struct RunRoutesTests {
    private let client = Client()

    private static func details() -> RunDetails {
        var former = EndedRun(number: 6, cause: .exited, isRestarted: true)
        former.bootID = "b"
        former.clockOffset = 0
        var run = EndedRun(number: 7, cause: .oomLimit, isRestarted: true)
        run.bootID = "b"
        run.startedAt = Timestamp(microseconds: 1_000_000)
        run.endedAt = Timestamp(microseconds: 61_000_000)
        run.ending = .killed(signal: 9)
        run.result = "oom-kill"
        run.memoryPeak = 1024
        run.cpuMilliseconds = 5
        run.clockOffset = -3_600_000_000
        run.portHolder = "the service 'other'"
        run.conditions = RunConditions(changedFields: ["command"], dropIns: [.init(path: "/etc/x.conf", hash: 1)])
        var details = RunDetails(run: run)
        details.log = ["one", "two\u{1B}[2J"]
        details.coreDump = "Process 7 dumped core.\n#0 main\u{7}"
        details.changes = RunChanges(from: former, to: run)
        details.changes?.packages = ["libc6"]
        return details
    }

    @Test func `a run is shown with what was kept about it`() async throws {
        client.control.state.withLock { $0.runs = [Self.details()] }
        let run = try #require(try await client.send(.get, "/v1/services/web/runs/7").object["data"]?.object)
        #expect(run["n"] == 7)
        #expect(run["started_at"] == "1970-01-01T00:00:01.000Z")
        #expect(run["exit_code"] == 137)
        #expect(run["signal"] == "SIGKILL")
        #expect(run["cause"] == "oom-limit")
        #expect(run["restarts_after"] == true)
        #expect(run["memory_peak"] == 1024)
        #expect(run["cpu_ms"] == 5)
        #expect(run["log"] == .array(["one", "two\u{1B}[2J"]))
        #expect(run["port_holder"] == "the service 'other'")
        let changes = try #require(run["changes"]?.object)
        #expect(changes["fields"] == .array(["command"]))
        #expect(changes["drop_ins"] == .array(["/etc/x.conf"]))
        #expect(changes["boot"] == false)
        #expect(changes["clock_seconds"] == -3600)
        #expect(changes["packages"] == .array(["libc6"]))
    }

    @Test func `text for a person has no control characters`() async throws {
        client.control.state.withLock { $0.runs = [Self.details()] }
        let page = try await client.send(.get, "/v1/services/web/runs/7", fields: ["Accept": "text/plain"]).text
        #expect(page.contains("Cause: oom-limit (oom-kill)\n"))
        #expect(page.contains("Port: held by the service 'other'\n"))
        #expect(page.contains("Clock: set by -3600 s\n"))
        #expect(page.contains("\nProcess 7 dumped core.\n#0 main\\x07\n"))
        #expect(page.hasSuffix("\none\ntwo\\x1b[2J\n"))
        let table = try await client.send(.get, "/v1/services/web/runs", fields: ["Accept": "text/plain"]).text
        let rows = table.split(separator: "\n").map { $0.split(separator: " ", omittingEmptySubsequences: true) }
        #expect(rows.count == 2)
        #expect(
            rows[1].prefix(5) == ["7", "1970-01-01T00:00:01.000Z", "1970-01-01T00:01:01.000Z", "oom-limit", "SIGKILL"]
        )
    }

    @Test(arguments: ["8", "0", "-7", "x", "7x", "99999999999999999999", "+7"])
    func `a run without a record is not found`(number: String) async throws {
        client.control.state.withLock { $0.runs = [Self.details()] }
        let reply = try await client.send(.get, "/v1/services/web/runs/\(number)")
        #expect(reply.status == 404)
        #expect(try reply.object["code"] == "RUN_NOT_FOUND")
    }

    @Test func `a service without ended runs has an empty list`() async throws {
        let list = try await client.send(.get, "/v1/services/web/runs").object
        #expect(list["data"] == .array([]))
        #expect(list["total"] == 0)
    }
}
