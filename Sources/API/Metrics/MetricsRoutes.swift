internal import HTTP
internal import Services

/// `GET /metrics`, for Prometheus.
enum MetricsRoutes {
    static func get(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let measurements = await context.control.measurements()
        let agent = await api.measureAgent()
        var text = MetricsText()
        text.write(measurements)
        text.write(agent)
        return Answer(response: Response(status: .ok, contentType: MetricsText.contentType, body: text.bytes))
    }
}

/// The families about services and systemd.
extension MetricsText {
    fileprivate mutating func write(_ measurements: Measurements) {
        family("miosa_agent_ready", .gauge, "Whether the states of the services are known (1) or not (0).") {
            $0.sample([:], measurements.isReady ? 1 : 0)
        }
        family("miosa_journal_active", .gauge, "Whether journald's unit is active (1) or not (0).") { family in
            if let isActive = measurements.isJournalActive { family.sample([:], isActive ? 1 : 0) }
        }
        writeStatuses(measurements)
        writeRuns(measurements.services)
        writeOutput(measurements.services)
        writeUsage(measurements.services)
        family(
            "miosa_systemd_call_duration_seconds",
            .histogram,
            "Time until systemd answered a call, by D-Bus method."
        ) { family in
            for (method, durations) in measurements.systemdCalls.sorted(by: { $0.key < $1.key }) {
                family.histogram(["method": method], durations)
            }
        }
        family("miosa_systemd_reloads_total", .counter, "Reloads of systemd's unit files that the agent caused.") {
            $0.sample([:], measurements.reloads)
        }
    }

    private mutating func writeStatuses(_ measurements: Measurements) {
        // While systemd is not reachable the statuses are unknown.
        guard measurements.isReady else { return }
        let statuses = ServiceStatus.allCases.filter { $0 != .removed }
        family("miosa_services", .gauge, "Services by status.") { family in
            for status in statuses {
                family.sample(
                    ["status": status.rawValue],
                    measurements.services.count { $0.status == status }
                )
            }
        }
        family("miosa_service_status", .gauge, "Whether a service has a status (1) or not (0).") { family in
            for service in measurements.services {
                for status in statuses {
                    family.sample(
                        ["service": service.name.description, "status": status.rawValue],
                        service.status == status ? 1 : 0
                    )
                }
            }
        }
    }

    private mutating func writeRuns(_ services: [ServiceMeasurements]) {
        family(
            "miosa_service_restarts_total",
            .counter,
            "Automatic restarts of a service since somebody last started it: systemd's NRestarts."
        ) { family in
            for service in services { family.sample(["service": service.name.description], service.restarts) }
        }
        family(
            "miosa_service_exits_total",
            .counter,
            "Ends of a service's runs that the agent has learned of, by exit code or by the signal that ended the run."
        ) { family in
            for service in services {
                for (ending, count) in service.exits.sorted(by: { $0.key.exitCode < $1.key.exitCode }) {
                    let name = service.name.description
                    if let signal = ending.signalName {
                        family.sample(["service": name, "signal": signal], count)
                    } else {
                        family.sample(["service": name, "code": String(ending.exitCode)], count)
                    }
                }
            }
        }
    }

    private mutating func writeOutput(_ services: [ServiceMeasurements]) {
        family(
            "miosa_service_output_discarded",
            .gauge,
            "1 while a service runs whose output is discarded, because there was no journald when the run began."
        ) { family in
            for service in services where service.isOutputDiscarded {
                family.sample(["service": service.name.description], 1)
            }
        }
    }

    private mutating func writeUsage(_ services: [ServiceMeasurements]) {
        func figure(_ name: String, _ kind: Kind, _ help: String, _ value: (ResourceUsage) -> Int?) {
            family(name, kind, help) { family in
                for service in services { family.sample(["service": service.name.description], value(service.usage)) }
            }
        }
        family(
            "miosa_service_cpu_seconds_total",
            .counter,
            "Processor time of a service's processes in its present run."
        ) { family in
            for service in services { family.sample(["service": service.name.description], service.usage.cpu) }
        }
        figure("miosa_service_memory_bytes", .gauge, "Memory that a service is charged for, page cache included.") {
            $0.memoryBytes
        }
        figure("miosa_service_tasks", .gauge, "Processes and threads of a service.") { $0.tasks }
        figure("miosa_service_io_read_bytes_total", .counter, "Bytes read from block devices in the present run.") {
            $0.io?.readBytes
        }
        figure("miosa_service_io_written_bytes_total", .counter, "Bytes written to block devices in the present run.") {
            $0.io?.writtenBytes
        }
        figure("miosa_service_io_reads_total", .counter, "Reads from block devices in the present run.") {
            $0.io?.reads
        }
        figure("miosa_service_io_writes_total", .counter, "Writes to block devices in the present run.") {
            $0.io?.writes
        }
    }
}

/// The families about the agent itself; those named `process_…` are every Prometheus client's.
extension MetricsText {
    fileprivate mutating func write(_ agent: AgentMeasurements) {
        let requests = agent.requests
        family("miosa_http_requests_total", .counter, "Requests answered, by route, method and status.") { family in
            for (endpoint, answers) in requests.answers.sorted(by: { $0.key < $1.key }) {
                for (status, count) in answers.statuses.sorted(by: { $0.key < $1.key }) {
                    family.sample(
                        ["route": endpoint.route, "method": endpoint.method, "status": String(status)],
                        count
                    )
                }
            }
        }
        family(
            "miosa_http_request_duration_seconds",
            .histogram,
            "Time from a request to its response, or to the head of one that streams, by route and method."
        ) { family in
            for (endpoint, answers) in requests.answers.sorted(by: { $0.key < $1.key }) {
                family.histogram(["route": endpoint.route, "method": endpoint.method], answers.durations)
            }
        }
        family("miosa_agent_streams", .gauge, "Responses that are being streamed, by what they carry.") { family in
            family.sample(["kind": "logs"], agent.streams.logs)
            family.sample(["kind": "events"], agent.streams.events)
        }
        family("miosa_audit_unwritten_entries", .gauge, "Entries of the audit that could not be written yet.") {
            $0.sample([:], agent.audit.unwritten)
        }
        family("miosa_audit_dropped_entries_total", .counter, "Entries of the audit that are lost.") {
            $0.sample([:], agent.audit.dropped)
        }
        family("miosa_agent_build_info", .gauge, "The agent's version; the value is always 1.") {
            $0.sample(["version": agent.version], 1)
        }
        let process = agent.process
        family("process_cpu_seconds_total", .counter, "Total user and system CPU time spent in seconds.") {
            $0.sample([:], process.cpu)
        }
        family("process_resident_memory_bytes", .gauge, "Resident memory size in bytes.") {
            $0.sample([:], process.residentBytes)
        }
        family("process_start_time_seconds", .gauge, "Start time of the process since unix epoch in seconds.") {
            $0.sample([:], process.startedAtSeconds)
        }
        family("process_open_fds", .gauge, "Number of open file descriptors.") { $0.sample([:], process.openFiles) }
        family("process_max_fds", .gauge, "Maximum number of open file descriptors.") {
            $0.sample([:], process.openFilesLimit)
        }
    }
}
