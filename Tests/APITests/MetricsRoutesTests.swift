import HTTP
import Services
import Synchronization
import Testing

@testable import API

struct MetricsRoutesTests {
    private let client = Client()

    private func measure(_ change: (inout Measurements) -> Void) {
        client.control.state.withLock { change(&$0.measurements) }
    }

    private func service(_ name: String, _ status: ServiceStatus?) throws -> ServiceMeasurements {
        ServiceMeasurements(
            name: try #require(ServiceName(name)),
            status: status,
            restarts: 0,
            exits: [:],
            usage: ResourceUsage()
        )
    }

    /// The samples of a family, and of a histogram's parts.
    private func samples(_ prefix: String) async throws -> [String] {
        let text = try await client.send(.get, "/metrics").text
        return text.split(separator: "\n").map { String($0) }.filter { $0.hasPrefix(prefix) }
    }

    @Test func `metrics are Prometheus text`() async throws {
        let reply = try await client.send(.get, "/metrics")
        #expect(reply.status == 200)
        #expect(reply["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8")
        #expect(reply.text.hasSuffix("\n"))
        #expect(try await client.send(.head, "/metrics").status == 200)
        #expect(try await client.send(.post, "/metrics").status == 405)
        #expect(try await client.send(.get, "/v1/metrics").status == 404)
    }

    @Test func `a TCP client needs the token`() async throws {
        #expect(try await client.send(.get, "/metrics", from: .tcp(address: "127.0.0.1:1")).status == 401)
        let fields: Fields = ["Authorization": "Bearer \(Client.token)"]
        #expect(
            try await client.send(.get, "/metrics", from: .tcp(address: "127.0.0.1:1"), fields: fields).status == 200
        )
    }

    @Test func `services are counted by status and each has one`() async throws {
        measure { measurements in
            measurements.services =
                (try? [service("api", .failed), service("db", .running), service("web", .running)])!
        }
        #expect(
            try await samples("miosa_services{") == [
                #"miosa_services{status="starting"} 0"#, #"miosa_services{status="running"} 2"#,
                #"miosa_services{status="failed"} 1"#, #"miosa_services{status="stopped"} 0"#,
            ]
        )
        #expect(
            try await samples(#"miosa_service_status{service="api""#) == [
                #"miosa_service_status{service="api",status="starting"} 0"#,
                #"miosa_service_status{service="api",status="running"} 0"#,
                #"miosa_service_status{service="api",status="failed"} 1"#,
                #"miosa_service_status{service="api",status="stopped"} 0"#,
            ]
        )
        #expect(try await samples("miosa_agent_ready") == ["miosa_agent_ready 1"])
    }

    @Test func `while systemd is out of sight nothing is said of what it knows`() async throws {
        measure { measurements in
            measurements.isReady = false
            measurements.services = (try? [service("api", nil)])!
        }
        #expect(try await samples("miosa_agent_ready") == ["miosa_agent_ready 0"])
        #expect(try await samples("miosa_services").isEmpty)
        #expect(try await samples("miosa_service_status").isEmpty)
        #expect(try await samples("miosa_service_restarts") == [#"miosa_service_restarts_total{service="api"} 0"#])
    }

    @Test func `restarts, exits and usage are those of the service`() async throws {
        measure { measurements in
            var web = (try? service("web", .running))!
            web.restarts = 7
            web.exits = [.exited(137): 1, .killed(signal: 9): 2, .exited(0): 3, .killed(signal: 40): 4]
            web.usage.cpu = .milliseconds(1500)
            web.usage.memoryBytes = 4096
            web.usage.tasks = 3
            var io = ResourceUsage.IO()
            (io.readBytes, io.writtenBytes, io.reads, io.writes) = (1, 2, 3, 4)
            web.usage.io = io
            measurements.services = [web, (try? service("zero", .stopped))!]
        }
        #expect(
            try await samples("miosa_service_restarts_total") == [
                #"miosa_service_restarts_total{service="web"} 7"#, #"miosa_service_restarts_total{service="zero"} 0"#,
            ]
        )
        #expect(
            Set(try await samples("miosa_service_exits_total")) == [
                #"miosa_service_exits_total{service="web",code="0"} 3"#,
                #"miosa_service_exits_total{service="web",code="137"} 1"#,
                #"miosa_service_exits_total{service="web",signal="SIGKILL"} 2"#,
                #"miosa_service_exits_total{service="web",signal="SIGRTMIN+6"} 4"#,
            ]
        )
        // Of a service without a process there is no line, and not a zero.
        #expect(
            try await samples("miosa_service_cpu") == [#"miosa_service_cpu_seconds_total{service="web"} 1.5"#]
        )
        #expect(try await samples("miosa_service_memory") == [#"miosa_service_memory_bytes{service="web"} 4096"#])
        #expect(try await samples("miosa_service_tasks") == [#"miosa_service_tasks{service="web"} 3"#])
        #expect(
            try await samples("miosa_service_io") == [
                #"miosa_service_io_read_bytes_total{service="web"} 1"#,
                #"miosa_service_io_written_bytes_total{service="web"} 2"#,
                #"miosa_service_io_reads_total{service="web"} 3"#,
                #"miosa_service_io_writes_total{service="web"} 4"#,
            ]
        )
    }

    @Test func `systemd's calls and reloads are counted`() async throws {
        measure { measurements in
            var histogram = DurationHistogram()
            histogram.count(.milliseconds(2))
            measurements.systemdCalls = ["StopUnit": DurationHistogram(), "Ping": histogram]
            measurements.reloads = 5
        }
        #expect(
            try await samples("miosa_systemd_call_duration_seconds_count") == [
                #"miosa_systemd_call_duration_seconds_count{method="Ping"} 1"#,
                #"miosa_systemd_call_duration_seconds_count{method="StopUnit"} 0"#,
            ]
        )
        #expect(try await samples("miosa_systemd_reloads_total") == ["miosa_systemd_reloads_total 5"])
    }

    @Test func `the agent tells of itself what it knows`() async throws {
        client.control.state.withLock { state in
            state.agent.streams = AgentMeasurements.Streams(logs: 3, events: 4)
            state.agent.process.cpu = .milliseconds(250)
            state.agent.process.openFiles = 9
        }
        #expect(
            try await samples("miosa_agent_streams") == [
                #"miosa_agent_streams{kind="logs"} 3"#, #"miosa_agent_streams{kind="events"} 4"#,
            ]
        )
        #expect(try await samples("miosa_agent_build") == [#"miosa_agent_build_info{version="1.2.3"} 1"#])
        #expect(try await samples("process_") == ["process_cpu_seconds_total 0.25", "process_open_fds 9"])
    }

    @Test func `requests are counted by route, method and status`() async throws {
        client.control.state.withLock { state in
            state.agent.requests.count(route: "/v1/services", method: .get, status: .ok, .milliseconds(1))
            state.agent.requests.count(route: "/v1/services", method: .get, status: .ok, .milliseconds(2))
            state.agent.requests.count(route: "/v1/services", method: .get, status: .unauthorized, .zero)
            state.agent.requests.count(route: nil, method: nil, status: .badRequest, .zero)
        }
        #expect(
            try await samples("miosa_http_requests_total") == [
                #"miosa_http_requests_total{route="/v1/services",method="GET",status="200"} 2"#,
                #"miosa_http_requests_total{route="/v1/services",method="GET",status="401"} 1"#,
                #"miosa_http_requests_total{route="none",method="other",status="400"} 1"#,
            ]
        )
        #expect(
            try await samples("miosa_http_request_duration_seconds_count") == [
                #"miosa_http_request_duration_seconds_count{route="/v1/services",method="GET"} 3"#,
                #"miosa_http_request_duration_seconds_count{route="none",method="other"} 1"#,
            ]
        )
    }
}

struct RequestMetricsTests {
    private func route(_ method: HTTP.Method, _ target: String) async throws -> String? {
        let target = try RequestTarget(parsing: target, method: method)
        let request = Request(head: try RequestHead(method: method, target: target, fields: ["Host": "h"]))
        let caller = Caller.unix(uid: 1000, gid: 1000, pid: 1, isAdmitted: false)
        return await Client().api.respond(to: request, from: caller).route
    }

    @Test(arguments: [
        (HTTP.Method.get, "/healthz", "/healthz"), (.head, "/metrics", "/metrics"), (.get, "/v1", "/v1"),
        (.get, "/api/v1/computers/self", "/v1"), (.get, "/v1/services?status=failed", "/v1/services"),
        (.get, "/v1/services/web", "/v1/services/{ref}"),
        (.post, "/api/v1/computers/self/services/web/start", "/v1/services/{ref}/start"),
        (.post, "/api/v1/computers/other/services/web/start", "/v1/services/{ref}/start"),
    ])
    func `a route is its pattern whatever the mount`(
        method: HTTP.Method,
        target: String,
        pattern: String
    ) async throws {
        #expect(try await route(method, target) == pattern)
    }

    @Test(arguments: ["/", "/v2/services", "/v1/services/", "/v1x", "/api/v1/computers"])
    func `a path that is not in the table has no route`(target: String) async throws {
        #expect(try await route(.get, target) == nil)
    }

    @Test func `a method that a path has not has no route`() async throws {
        #expect(try await route(.delete, "/healthz") == nil)
        #expect(try await route(HTTP.Method(rawValue: "BREW")!, "/v1") == nil)
    }

    @Test func `whatever clients send there are few counters`() async throws {
        var metrics = RequestMetrics()
        for number in 0..<1000 {
            let method = HTTP.Method(rawValue: "METHOD\(number)")!
            metrics.count(route: try await route(method, "/path/\(number)"), method: method, status: .notFound, .zero)
            metrics.count(
                route: try await route(.get, "/v1/services/\(number)"),
                method: .get,
                status: .notFound,
                .zero
            )
        }
        #expect(
            metrics.answers.keys.sorted().map { "\($0.method) \($0.route)" } == [
                "GET /v1/services/{ref}", "other none",
            ]
        )
        #expect(metrics.answers.values.allSatisfy { $0.statuses == [404: 1000] })
    }
}
