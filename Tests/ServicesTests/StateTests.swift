import JSON
import Testing

@testable import Services

@Suite struct ServiceStatusTests {
    private static let intents: [ServiceStatus.Intent] = [.none, .start, .stop]

    private static let table:
        [(state: String, refusal: String?, none: ServiceStatus, start: ServiceStatus, stop: ServiceStatus)] = [
            ("active", nil, .running, .running, .running), ("active", "no", .running, .running, .running),
            ("reloading", nil, .running, .running, .running), ("reloading", "no", .running, .running, .running),
            ("deactivating", nil, .running, .running, .running), ("deactivating", "no", .running, .running, .running),
            ("activating", nil, .starting, .starting, .starting), ("activating", "no", .starting, .starting, .starting),
            ("inactive", nil, .stopped, .starting, .stopped), ("inactive", "no", .failed, .starting, .stopped),
            ("failed", nil, .failed, .starting, .stopped), ("failed", "no", .failed, .starting, .stopped),
            ("maintenance", nil, .running, .running, .running), ("refreshing", "no", .running, .running, .running),
        ]

    @Test(arguments: 0..<14) func `a status follows from state, intent and refusal`(line: Int) {
        let row = Self.table[line]
        let state = ActiveState(rawValue: row.state)
        #expect(ServiceStatus.of(state, isLaunching: false, intent: .none, refusal: row.refusal) == row.none)
        #expect(ServiceStatus.of(state, isLaunching: false, intent: .start, refusal: row.refusal) == row.start)
        #expect(ServiceStatus.of(state, isLaunching: false, intent: .stop, refusal: row.refusal) == row.stop)
        #expect(Self.table.count == 14)
    }

    @Test func `the words are the documented ones`() {
        #expect(ServiceStatus.allCases.map(\.rawValue) == ["starting", "running", "failed", "stopped", "removed"])
    }
}

@Suite struct ServiceRunTests {
    private func state(
        _ active: String = "active",
        started: Int64? = nil,
        exited: Int64? = nil,
        code: Int = 0,
        status: Int = 0,
        result: String = "success",
        restarts: Int = 0,
        invocation: String? = nil
    ) -> UnitState {
        var state = UnitState()
        state.activeState = ActiveState(rawValue: active)
        state.result = result
        state.restarts = restarts
        state.invocationID = invocation
        state.main.code = code
        state.main.status = status
        state.main.startedAt = started.map { Timestamp(microseconds: $0) }
        state.main.exitedAt = exited.map { Timestamp(microseconds: $0) }
        return state
    }

    @Test func `a unit that never ran leaves the figures alone`() {
        var run = ServiceRun()
        run.observe(state("inactive", restarts: 3, invocation: "i"), bootID: "boot")
        #expect(run == ServiceRun())
    }

    @Test func `the main processes of the newest runs are remembered, and no more`() throws {
        var run = ServiceRun()
        var state = UnitState()
        for pid in 1...ServiceRun.processesLimit + 1 {
            state.main.pid = pid
            state.main.startedAt = Timestamp(microseconds: Int64(pid))
            // Once for the start, once for the end.
            run.observe(state, bootID: "boot")
            run.observe(state, bootID: "boot")
            #expect(run.processes.count == min(pid, ServiceRun.processesLimit))
        }
        #expect(run.processes.map(\.pid) == Array(2...ServiceRun.processesLimit + 1))
    }

    @Test func `the figures of an ended run stay while the next one runs`() {
        var run = ServiceRun()
        run.observe(state(started: 10, invocation: "one"), bootID: "boot")
        #expect(run.startedAt == Timestamp(microseconds: 10))
        #expect(run.ending == nil && run.exitedAt == nil && run.result == nil)
        #expect(run.invocationID == "one" && run.bootID == "boot")
        run.observe(
            state("failed", started: 10, exited: 20, code: 1, status: 3, result: "exit-code", invocation: "one"),
            bootID: "boot"
        )
        #expect(run.ending == .exited(3) && run.exitedAt == Timestamp(microseconds: 20) && run.result == "exit-code")
        run.observe(state(started: 30, restarts: 1, invocation: "two"), bootID: "boot")
        #expect(run.startedAt == Timestamp(microseconds: 30))
        #expect(run.ending == .exited(3) && run.exitedAt == Timestamp(microseconds: 20))
        #expect(run.result == "exit-code")
        #expect(run.restarts == 1 && run.invocationID == "two")
    }

    @Test(arguments: [
        (1, 0, RunEnding.exited(0), 0, nil as String?), (1, 255, .exited(255), 255, nil),
        (2, 9, .killed(signal: 9), 137, "SIGKILL"), (3, 11, .killed(signal: 11), 139, "SIGSEGV"),
        (2, 15, .killed(signal: 15), 143, "SIGTERM"),
    ])
    func `an end is an exit code or a signal, with or without a core dump`(
        code: Int,
        status: Int,
        ending: RunEnding,
        exitCode: Int,
        signal: String?
    ) {
        var run = ServiceRun()
        run.observe(state("failed", started: 1, exited: 2, code: code, status: status), bootID: "boot")
        #expect(run.ending == ending)
        #expect(run.ending?.exitCode == exitCode)
        #expect(run.ending?.signalName == signal)
    }

    @Test(arguments: [0, 4, 5, 6]) func `a process that has not ended has no end`(code: Int) {
        var run = ServiceRun()
        run.observe(state(started: 1, exited: 2, code: code, status: 9), bootID: "boot")
        #expect(run.ending == nil && run.exitedAt == nil)
    }

    @Test func `a failure that is reset keeps its result`() {
        var run = ServiceRun()
        run.observe(state("failed", started: 1, exited: 2, code: 2, status: 9, result: "timeout"), bootID: "boot")
        run.observe(state("inactive", started: 1, exited: 2, code: 2, status: 9, result: "success"), bootID: "boot")
        #expect(run.result == "timeout")
        run.observe(state("inactive", started: 3, exited: 4, code: 1, status: 0, result: "success"), bootID: "boot")
        #expect(run.result == "success")
    }

    @Test func `a run of another boot is told by its boot`() {
        var run = ServiceRun()
        run.observe(state(started: 1), bootID: "one")
        run.observe(state("inactive"), bootID: "two")
        #expect(run.bootID == "one")
        run.observe(state(started: 2), bootID: "two")
        #expect(run.bootID == "two")
    }
}

@Suite struct ServiceMessageTests {
    /// A service in a state, as its message sees it.
    private func message(
        _ active: String,
        sub: String = "",
        result: String = "success",
        ending: RunEnding? = nil,
        runResult: String? = nil,
        restarts: Int = 0,
        intent: ServiceStatus.Intent = .none,
        refusal: String? = nil,
        hasGivenUp: Bool = false
    ) throws -> String? {
        let spec = try Samples.spec { $0["cwd"] = "/srv/x" }
        var record = ServiceRecord(id: "id", spec: spec, createdAt: Timestamp(microseconds: 0))
        record.run.ending = ending
        record.run.result = runResult ?? result
        var state = UnitState()
        state.activeState = ActiveState(rawValue: active)
        state.subState = sub
        state.result = result
        state.restarts = restarts
        var remarks = Remarks()
        remarks.refusal = refusal
        var evidence = RunDiagnosis.Evidence()
        evidence.hasGivenUp = hasGivenUp
        if hasGivenUp { remarks.diagnosis = RunDiagnosis(of: record, evidence, systemPath: "/bin") }
        return Service(record: record, state: state, intent: intent, remarks: remarks).message
    }

    @Test(arguments: [(Service.keptEncodingBytesLimit, 1), (Service.keptEncodingBytesLimit + 1, 2)])
    func `a service is encoded once unless that is long`(bytes: Int, expected: Int) throws {
        let record = ServiceRecord(id: "id", spec: try Samples.spec(), createdAt: Timestamp(microseconds: 0))
        let service = Service(record: record, state: UnitState(), intent: .none)
        var count = 0
        for _ in 0..<2 {
            let encoded = service.encoded {
                count += 1
                return Service.Encoding([UInt8](repeating: 0x78, count: bytes), specHash: 1, hash: 2)
            }
            #expect(encoded.bytes.count == bytes)
        }
        #expect(count == expected)
    }

    @Test func `a service with which nothing is wrong has no message`() throws {
        #expect(try message("active", sub: "running") == nil)
        #expect(try message("activating", sub: "start") == nil)
        #expect(try message("deactivating", sub: "stop-sigterm", ending: .exited(1)) == nil)
        #expect(try message("inactive", sub: "dead") == nil)
        #expect(try message("inactive", sub: "dead", ending: .exited(0)) == nil)
        #expect(try message("inactive", sub: "dead", ending: .killed(signal: 15), intent: .stop) == nil)
    }

    @Test(arguments: [1, 126, 127, 200, 203, 217, 255])
    func `an exit code of which no more is known is told as it is`(code: Int) throws {
        let expected = "exited with code \(code)"
        #expect(try message("failed", sub: "failed", result: "exit-code", ending: .exited(code)) == expected)
        let restarting = try message("activating", sub: "auto-restart", result: "exit-code", ending: .exited(code))
        #expect(restarting == expected + "; systemd starts it again")
        let queued = try message("activating", sub: "auto-restart-queued", ending: .exited(code))
        #expect(queued == expected + "; systemd starts it again")
    }

    private static let outOfMemory =
        "was killed because memory ran out: the service's limit or the machine's (oom-kill)"

    @Test(arguments: [
        ("signal", RunEnding.killed(signal: 9), "ended by SIGKILL"),
        ("core-dump", .killed(signal: 11), "ended by SIGSEGV"),
        ("oom-kill", .killed(signal: 9), Self.outOfMemory),
        ("oom-kill", .killed(signal: 15), Self.outOfMemory),
        ("timeout", .killed(signal: 9), "did not start or stop in time and was killed (timeout)"),
        ("watchdog", .killed(signal: 6), "was killed by systemd's watchdog"),
        ("resources", nil, "systemd could not set up the process (resources); see the journal of the unit"),
        ("protocol", nil, "failed with result 'protocol'"),
    ])
    func `a failure is explained by its result`(result: String, ending: RunEnding?, expected: String) throws {
        #expect(try message("failed", sub: "failed", result: result, ending: ending) == expected)
    }

    @Test func `a service on which systemd gave up says so and what to do`() throws {
        let limit = "; systemd gave up after 5 starts in 10 s, start the service to try again"
        let exited = try message("failed", result: "exit-code", ending: .exited(3), hasGivenUp: true)
        #expect(exited == "exited with code 3" + limit)
        // Restarts over days are no start limit.
        #expect(try message("failed", result: "exit-code", ending: .exited(3), restarts: 99) == "exited with code 3")
        let limited = try message("failed", result: "start-limit-hit", ending: .exited(0), restarts: 5)
        #expect(limited == "exited with code 0" + limit)
    }

    @Test(arguments: [
        ("timeout", RunEnding.killed(signal: 9), "did not end within 10 s of SIGTERM and was killed"),
        ("exit-code", .exited(5), "ended with exit code 5 when it was stopped"),
        ("signal", .killed(signal: 9), "ended by SIGKILL when it was stopped"),
    ])
    func `a stop that did not go well is explained`(result: String, ending: RunEnding, expected: String) throws {
        #expect(try message("failed", result: result, ending: ending, intent: .stop) == expected)
        // Once the failure is reset in systemd.
        #expect(try message("inactive", ending: ending, runResult: result, intent: .stop) == expected)
    }

    @Test func `an exit code that stands for the stop signal is a stop that went well`() throws {
        #expect(try message("failed", result: "exit-code", ending: .exited(128 + 15), intent: .stop) == nil)
        #expect(try message("failed", result: "exit-code", ending: .exited(128 + 2), intent: .stop) != nil)
        #expect(try message("failed", result: "exit-code", ending: .exited(128 + 15)) == "exited with code 143")
    }

    @Test func `a unit that systemd refuses is explained in systemd's words`() throws {
        let expected = "systemd does not start the unit: Unit is masked."
        #expect(try message("inactive", refusal: "Unit is masked.") == expected)
        #expect(try message("failed", ending: .exited(1), refusal: "Unit is masked.") == expected)
    }
}

@Suite struct TimestampTests {
    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (1_763_765_520_123_456, "2025-11-21T22:52:00.123Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"), (951_868_800_000_000, "2000-03-01T00:00:00.000Z"),
            (4_107_542_399_999_999, "2100-02-28T23:59:59.999Z"), (4_107_542_400_000_000, "2100-03-01T00:00:00.000Z"),
            (1_709_251_199_999_000, "2024-02-29T23:59:59.999Z"), (1_735_689_599_999_999, "2024-12-31T23:59:59.999Z"),
            (1_735_689_600_000_000, "2025-01-01T00:00:00.000Z"), (999, "1970-01-01T00:00:00.000Z"),
            (1000, "1970-01-01T00:00:00.001Z"), (-1, "1969-12-31T23:59:59.999Z"), (-1000, "1969-12-31T23:59:59.999Z"),
            (-1001, "1969-12-31T23:59:59.998Z"), (-86_400_000_000, "1969-12-31T00:00:00.000Z"),
            (-2_203_977_600_000_000, "1900-02-28T00:00:00.000Z"), (-2_203_891_200_000_000, "1900-03-01T00:00:00.000Z"),
            (-62_135_596_800_000_000, "0001-01-01T00:00:00.000Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999Z"),
        ] as [(Int64, String)]
    )
    func `a moment prints as RFC 3339 in UTC`(microseconds: Int64, expected: String) {
        #expect(Timestamp(microseconds: microseconds).description == expected)
    }

    @Test(
        arguments: [(0, nil), (1, 1), (UInt64(Int64.max) - 1, Int64.max - 1), (UInt64(Int64.max), nil), (.max, nil)]
            as [(UInt64, Int64?)]
    )
    func `zero and infinity of systemd are no moments`(systemd: UInt64, expected: Int64?) {
        #expect(Timestamp(systemd: systemd)?.microseconds == expected)
    }

    @Test func `moments are ordered`() {
        #expect(Timestamp(microseconds: -1) < Timestamp(microseconds: 0))
        #expect(!(Timestamp(microseconds: 1) < Timestamp(microseconds: 1)))
    }
}

@Suite struct SignalNameTests {
    @Test(arguments: [
        (1, "SIGHUP"), (2, "SIGINT"), (6, "SIGABRT"), (9, "SIGKILL"), (11, "SIGSEGV"), (13, "SIGPIPE"), (15, "SIGTERM"),
        (17, "SIGCHLD"), (19, "SIGSTOP"), (24, "SIGXCPU"), (31, "SIGSYS"), (32, "SIG32"), (33, "SIG33"),
        (34, "SIGRTMIN"),
        (35, "SIGRTMIN+1"), (64, "SIGRTMIN+30"), (65, "SIG65"), (0, "SIG0"), (-1, "SIG-1"),
    ])
    func `a signal has the name that signal(7) gives it`(number: Int, name: String) {
        #expect(SignalName.name(of: number) == name)
    }

    @Test func `the shell of this machine knows the same names`() throws {
        let list = try Tool.run("/bin/bash", ["-c", "for n in {1..31}; do kill -l $n; done"])
        let names = list.output.split(separator: "\n").map { "SIG" + $0 }
        #expect(names == (1...31).map(SignalName.name))
    }
}
