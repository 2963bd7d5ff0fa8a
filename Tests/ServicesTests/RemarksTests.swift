import JSON
import Testing

@testable import Services

/// What a person is told of a service beside its status: the finer word, drift, crash loops, known figures.
@Suite struct RemarksTests {
    private func service(
        _ active: ActiveState,
        sub: String = "",
        result: String = "success",
        intent: ServiceStatus.Intent = .none,
        remarks: Remarks = Remarks(),
        record changeRecord: (inout ServiceRecord) throws -> Void = { _ in },
        state change: (inout UnitState) -> Void = { _ in }
    ) throws -> Service {
        var record = ServiceRecord(
            id: "id",
            spec: try Samples.spec { $0["port"] = 8000 },
            createdAt: Timestamp(microseconds: 0)
        )
        record.phase = .established
        try changeRecord(&record)
        var state = UnitState()
        state.activeState = active
        state.subState = sub
        state.result = result
        change(&state)
        return Service(record: record, state: state, intent: intent, remarks: remarks)
    }

    private func remarks(_ change: (inout Remarks) throws -> Void) rethrows -> Remarks {
        var remarks = Remarks()
        try change(&remarks)
        return remarks
    }

    private func findings(
        dropIns: [String] = [],
        _ deviation: UnitFileFindings.Deviation? = nil,
        isLinkedByHand: Bool? = nil
    ) -> Remarks {
        remarks {
            $0.unitFiles = UnitFileFindings(dropIns: dropIns, deviation: deviation, isLinkedByHand: isLinkedByHand)
        }
    }

    // MARK: The finer word

    @Test func `the first word that applies is told`() throws {
        let loop = remarks { $0.crashLoop = CrashLoop(ends: 3) }
        #expect(try service(.active).subStatus == nil)
        #expect(try service(.active, remarks: loop, state: { $0.isFrozen = true }).subStatus == .paused)
        #expect(try service(.inactive, state: { $0.isFrozen = true }).subStatus == nil)
        #expect(try service(.deactivating, remarks: loop).subStatus == .stopping)
        #expect(try service(.active, record: { $0.phase = .stopping }).subStatus == .stopping)
        #expect(try service(.active, record: { $0.phase = .deleting }).subStatus == .stopping)
        #expect(try service(.active, remarks: loop).subStatus == .crashLooping)
        #expect(try service(.activating, sub: "auto-restart", remarks: loop).subStatus == .crashLooping)
        #expect(try service(.failed, remarks: loop).subStatus == nil)
        #expect(try service(.activating, sub: "auto-restart").subStatus == .restarting)
        #expect(try service(.activating, sub: "auto-restart-queued").subStatus == .restarting)
        #expect(try service(.activating, sub: "start").subStatus == nil)
        #expect(try service(.active, remarks: findings(isLinkedByHand: false)).subStatus == .drifted)
    }

    // MARK: Drift

    @Test func `drop-ins are no drift`() throws {
        let service = try service(.active, remarks: findings(dropIns: ["/etc/systemd/system/x.d/a.conf"]))
        #expect(service.dropIns == ["/etc/systemd/system/x.d/a.conf"])
        #expect(service.drift == nil && service.message == nil)
    }

    @Test(arguments: [
        (UnitFileFindings.Deviation.missing(path: "/u"), "the unit file /u is missing: "),
        (.masked(path: "/u"), "the unit is masked (/u is a link to /dev/null): "),
        (.edited(path: "/u"), "the unit file /u was changed by hand: "),
        (.overridden(path: "/o"), "the unit file /o takes the place of the agent's: "),
    ])
    func `another unit file is drift and named`(deviation: UnitFileFindings.Deviation, beginning: String) throws {
        let service = try service(.active, remarks: findings(deviation))
        #expect(service.drift == .unitFile(deviation))
        #expect(try #require(service.message).hasPrefix(beginning))
    }

    @Test func `what is outstanding is no drift`() throws {
        let remarks = findings(.missing(path: "/u"), isLinkedByHand: true)
        for phase in [ServiceRecord.Phase.starting, .stopping, .deleting] {
            #expect(try service(.active, remarks: remarks, record: { $0.phase = phase }).drift == nil)
        }
    }

    @Test func `a service that a stop job of others has ended has drifted`() throws {
        func stopped(_ active: ActiveState, isEnabled: Bool = true, wasStopped: Bool = true) throws -> Drift? {
            try service(active) { record in
                record.isToRun = isEnabled
                record.run.wasStopped = wasStopped
            }.drift
        }
        #expect(try stopped(.inactive) == .stopped)
        #expect(try stopped(.failed) == .stopped)
        #expect(try stopped(.active) == nil)
        #expect(try stopped(.inactive, wasStopped: false) == nil)
        #expect(try stopped(.inactive, isEnabled: false) == nil)
    }

    @Test func `a service that runs although it was stopped has drifted`() throws {
        #expect(try service(.active) { $0.isToRun = false }.drift == .started)
        #expect(try service(.inactive) { $0.isToRun = false }.drift == nil)
        #expect(try service(.deactivating) { $0.isToRun = false }.drift == nil)
    }

    @Test func `drift comes after the reason of a failure`() throws {
        let failed = try service(.failed, result: "exit-code", remarks: findings(isLinkedByHand: false)) {
            $0.run = ServiceRun(startedAt: nil, exitedAt: nil, ending: .exited(3), result: nil, hasEnded: true)
        }
        let expected = "exited with code 3; the unit was disabled by hand and does not start at boot"
        #expect(try #require(failed.message).hasPrefix(expected))
    }

    // MARK: Messages

    @Test func `a crash loop is told with its count and the last end while it runs`() throws {
        var evidence = RunDiagnosis.Evidence()
        evidence.errorLines = ["bind: Address already in use"]
        evidence.portHolder = "the service 'other'"
        let message = try service(.active, remarks: Remarks()) { _ in }.message
        #expect(message == nil)
        let looping = try service(
            .active,
            remarks: try remarks {
                let record = ServiceRecord(id: "", spec: try Samples.spec(), createdAt: Timestamp(microseconds: 0))
                let diagnosis = RunDiagnosis(of: record, evidence, systemPath: "/bin")
                $0.crashLoop = CrashLoop(ends: 7, diagnosis: diagnosis)
            }
        ) { record in
            record.run = ServiceRun(startedAt: nil, exitedAt: nil, ending: .exited(98), result: nil, hasEnded: true)
        }
        #expect(
            looping.message
                == "crash loop: 7 ends without a run of 60 s, the last one: exited with code 98; its last line"
                + " on standard error: bind: Address already in use; port 8000 is held by the service 'other'"
        )
    }

    @Test(arguments: [
        (RunDiagnosis.OutOfMemory.serviceLimit(), "was killed because it reached its own memory limit (oom-kill)"),
        (
            .serviceLimit(.init(kernelMessage: "memory: usage 102348kB, limit 102400kB, failcnt 36")),
            "was killed because it reached its own memory limit of 100.0 MiB, with a peak of 99.9 MiB (oom-kill)"
        ),
        (
            .serviceLimit(.init(kernelMessage: "memory: usage x, limit 102400kB, failcnt 36")),
            "was killed because it reached its own memory limit (oom-kill)"
        ),
        (.sliceLimit("a.slice"), "was killed because a.slice reached its memory limit (oom-kill)"),
        (.machine, "was killed because the machine ran out of memory (oom-kill)"),
    ])
    func `whose memory ran out is told where the kernel told it`(
        cause: RunDiagnosis.OutOfMemory,
        expected: String
    ) throws {
        var evidence = RunDiagnosis.Evidence()
        evidence.outOfMemory = cause
        for (active, sub, suffix) in [
            (ActiveState.failed, "failed", ""), (.activating, "auto-restart", "; systemd starts it again"),
        ] {
            let diagnosed = try remarks {
                let record = ServiceRecord(id: "", spec: try Samples.spec(), createdAt: Timestamp(microseconds: 0))
                $0.diagnosis = RunDiagnosis(of: record, evidence, systemPath: "/bin")
            }
            let service = try service(active, sub: sub, result: "oom-kill", remarks: diagnosed)
            #expect(service.message == expected + suffix)
        }
    }

    @Test func `a kill for memory that systemd has restarted leaves a trace`() throws {
        let exitedAt = Timestamp(microseconds: 5_000_000)
        func message(restarts: Int, result: String) throws -> String? {
            try service(.active) { record in
                record.run = ServiceRun(
                    startedAt: Timestamp(microseconds: 6_000_000),
                    exitedAt: exitedAt,
                    ending: .killed(signal: 9),
                    result: result,
                    hasEnded: false
                )
                record.run.restarts = restarts
            }.message
        }
        #expect(try #require(try message(restarts: 1, result: "oom-kill")).contains("killed at \(exitedAt)"))
        #expect(try message(restarts: 1, result: "signal") == nil)
        #expect(try message(restarts: 0, result: "oom-kill") == nil)
    }

    @Test func `a signal by hand is told from a stop`() throws {
        func message(_ ending: RunEnding, wasStopped: Bool) throws -> String? {
            try service(.inactive) { record in
                record.run = ServiceRun(
                    startedAt: nil,
                    exitedAt: nil,
                    ending: ending,
                    result: "success",
                    hasEnded: true
                )
                record.run.wasStopped = wasStopped
            }.message
        }
        #expect(
            try message(.killed(signal: 1), wasStopped: false) == "ended by SIGHUP without a stop that was asked for"
        )
        #expect(
            try message(.killed(signal: 15), wasStopped: false) == "ended by SIGTERM without a stop that was asked for"
        )
        #expect(
            try #require(try message(.killed(signal: 2), wasStopped: true)).hasPrefix(
                "ended by SIGINT when it was stopped"
            )
        )
        #expect(try message(.exited(0), wasStopped: false) == nil)
    }

    @Test func `a step in front of the command is named with its own end`() throws {
        var evidence = RunDiagnosis.Evidence()
        evidence.failedStep = RunDiagnosis.FailedStep(setting: "ExecStartPre", ending: .exited(3))
        let diagnosed = try remarks {
            let record = ServiceRecord(id: "", spec: try Samples.spec(), createdAt: Timestamp(microseconds: 0))
            $0.diagnosis = RunDiagnosis(of: record, evidence, systemPath: "/bin")
        }
        let failed = try service(.failed, result: "exit-code", remarks: diagnosed) { $0.run.hasMainProcess = false }
        #expect(failed.message == "did not come to its command: ExecStartPre= of the unit exited with code 3")
        let unknown = try service(.failed, result: "exit-code") { $0.run.hasMainProcess = false }
        #expect(unknown.message == "failed before it came to its command, with result 'exit-code'")
    }

    // MARK: Figures

    private func state(
        _ active: ActiveState,
        started: Int64?,
        exited: Int64? = nil,
        code: Int = 0,
        status: Int = 0,
        invocation: String
    ) -> UnitState {
        var state = UnitState()
        state.activeState = active
        state.invocationID = invocation
        state.main.startedAt = started.map { Timestamp(microseconds: $0) }
        state.main.exitedAt = exited.map { Timestamp(microseconds: $0) }
        state.main.code = code
        state.main.status = status
        state.result = active == .failed ? "exit-code" : "success"
        return state
    }

    @Test func `figures of an older run are not those of one whose end was missed`() {
        var run = ServiceRun()
        run.observe(state(.failed, started: 1, exited: 2, code: 1, status: 7, invocation: "a"), bootID: "1")
        #expect(run.ending == .exited(7) && run.hasEnded)
        run.observe(state(.active, started: 3, invocation: "b"), bootID: "1")
        #expect(run.ending == .exited(7) && !run.hasEnded)
        // The power went, and the service was started at boot.
        run.observe(state(.active, started: 5, invocation: "c"), bootID: "2")
        #expect(run.ending == nil && run.exitedAt == nil && run.result == nil && !run.hasEnded)
    }

    @Test func `a run that fails in front of its command has no exit code`() {
        var run = ServiceRun()
        run.observe(state(.failed, started: 1, exited: 2, code: 1, status: 7, invocation: "a"), bootID: "1")
        run.observe(state(.activating, started: 1, exited: 2, code: 1, status: 7, invocation: "b"), bootID: "1")
        #expect(run.ending == .exited(7) && !run.hasMainProcess)
        run.observe(state(.failed, started: 1, exited: 2, code: 1, status: 7, invocation: "b"), bootID: "1")
        #expect(run.ending == nil && run.result == "exit-code" && run.invocationID == "b")
        run.observe(state(.active, started: 9, invocation: "c"), bootID: "1")
        #expect(run.hasMainProcess && !run.hasEnded)
    }

    @Test func `an end is one although the clock was put back`() {
        var run = ServiceRun()
        run.observe(state(.active, started: 1000, invocation: "a"), bootID: "1")
        run.observe(state(.failed, started: 1000, exited: 10, code: 1, status: 7, invocation: "a"), bootID: "1")
        #expect(run.hasEnded && run.ending == .exited(7))
    }

    @Test func `an end that the journal tells is that of the newest run only where systemd knows of none later`() {
        let end = ServiceRun.End(at: Timestamp(microseconds: 4), ending: .killed(signal: 9), result: "signal")
        var gone = ServiceRun(
            startedAt: Timestamp(microseconds: 3),
            exitedAt: nil,
            ending: nil,
            result: nil,
            hasEnded: false
        )
        gone.observe(end, before: UnitState())
        #expect(gone.hasEnded && gone.ending == .killed(signal: 9))
        var next = ServiceRun(
            startedAt: Timestamp(microseconds: 5),
            exitedAt: nil,
            ending: nil,
            result: nil,
            hasEnded: false
        )
        next.observe(end, before: state(.active, started: 5, invocation: "b"))
        #expect(!next.hasEnded && next.ending == .killed(signal: 9))
        var ended = next
        ended.observe(end, before: state(.failed, started: 5, exited: 6, code: 1, status: 1, invocation: "b"))
        #expect(ended == next)
    }

    @Test(arguments: [
        (ServiceRecord.Phase.established, true), (.starting, false), (.stopping, false), (.deleting, false),
    ])
    func `a record in front of its files says that they may lack, unless a change is outstanding`(
        phase: ServiceRecord.Phase,
        mayLack: Bool
    ) throws {
        var record = ServiceRecord(id: "", spec: try Samples.spec(), createdAt: Timestamp(microseconds: 0))
        record.phase = phase
        #expect(record.writtenFirst.lacksFiles == mayLack)
        #expect(!record.lacksFiles)
    }
}
