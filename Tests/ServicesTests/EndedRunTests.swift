import Testing

@testable import Services

struct EndedRunTests {
    private func cause(
        _ ending: RunEnding?,
        _ result: String?,
        _ request: EndedRun.Request? = nil,
        hasMainProcess: Bool = true,
        memory: RunDiagnosis.OutOfMemory? = nil,
        isSetUpFailure: Bool = false
    ) -> String {
        var run = EndedRun(number: 1, cause: .unknown, isRestarted: false)
        (run.ending, run.result) = (ending, result)
        var evidence = EndedRun.Evidence()
        (evidence.outOfMemory, evidence.isSetUpFailure) = (memory, isSetUpFailure)
        run.conclude(request, evidence, hasMainProcess: hasMainProcess)
        return run.cause.rawValue
    }

    @Test func `the cause follows from what systemd and the journal tell`() {
        #expect(cause(.exited(0), "success") == "exited")
        #expect(cause(.exited(3), "exit-code") == "exited")
        #expect(cause(.exited(203), "exit-code") == "exited")
        #expect(cause(.exited(203), "exit-code", isSetUpFailure: true) == "start-failed")
        #expect(cause(.killed(signal: 9), "signal") == "signal")
        #expect(cause(.killed(signal: 9), "timeout") == "timeout")
        #expect(cause(.killed(signal: 6), "watchdog") == "watchdog")
        #expect(cause(nil, "resources") == "start-failed")
        #expect(cause(nil, "exit-code", hasMainProcess: false) == "start-failed")
        #expect(cause(nil, "timeout", hasMainProcess: false) == "timeout")
        #expect(cause(nil, nil) == "unknown")
        #expect(cause(nil, "success") == "unknown")
    }

    @Test func `whose memory ran out is told apart`() {
        #expect(cause(.killed(signal: 9), "oom-kill", memory: .serviceLimit()) == "oom-limit")
        #expect(cause(.killed(signal: 9), "oom-kill", memory: .sliceLimit("a.slice")) == "oom-limit")
        #expect(cause(.killed(signal: 9), "oom-kill", memory: .machine) == "oom-machine")
        #expect(cause(.killed(signal: 9), "oom-kill") == "unknown")
    }

    @Test func `a request goes before what the process did`() {
        #expect(cause(.killed(signal: 9), "timeout", .stop) == "stopped")
        #expect(cause(.exited(1), "exit-code", .restart) == "replaced")
        #expect(cause(nil, nil, .powerOff) == "power-off")
    }

    @Test func `a run without a main process has no end of an earlier one`() {
        var run = ServiceRun(
            startedAt: Timestamp(microseconds: 1),
            exitedAt: Timestamp(microseconds: 2),
            ending: .exited(3),
            result: "exit-code",
            hasEnded: true
        )
        run.hasMainProcess = false
        let ended = EndedRun(run, isRestarted: false, now: Timestamp(microseconds: 9))
        #expect(ended.startedAt == nil)
        #expect(ended.ending == nil)
        #expect(ended.endedAt == Timestamp(microseconds: 9))
    }

    @Test func `changes name what differs from the run before`() {
        func run(_ dropIns: [String: UInt64], boot: String = "b", clock: Int? = 0) -> EndedRun {
            var run = EndedRun(number: 1, cause: .exited, isRestarted: false)
            let dropIns = dropIns.map { RunConditions.DropIn(path: $0.key, hash: $0.value) }
            run.conditions = RunConditions(changedFields: ["env"], dropIns: dropIns)
            (run.bootID, run.clockOffset) = (boot, clock)
            return run
        }
        let changes = RunChanges(
            from: run(["/same": 1, "/gone": 1, "/edited": 1]),
            to: run(["/same": 1, "/edited": 2, "/new": 1])
        )
        #expect(changes.fields == ["env"])
        #expect(changes.dropIns == ["/edited", "/gone", "/new"])
        #expect(!changes.isOtherBoot)
        #expect(changes.clockSeconds == nil)
        #expect(RunChanges(from: run([:]), to: run([:], clock: 1_000_000)).clockSeconds == nil)
        #expect(RunChanges(from: run([:]), to: run([:], clock: 1_000_001)).clockSeconds == 1)
        #expect(RunChanges(from: run([:]), to: run([:], clock: -90_000_000)).clockSeconds == -90)
        #expect(RunChanges(from: run([:]), to: run([:], clock: nil)).clockSeconds == nil)
        var unknown = run(["/new": 1])
        unknown.areConditionsKnown = false
        #expect(RunChanges(from: unknown, to: run([:])).dropIns.isEmpty)
        #expect(RunChanges(from: run([:]), to: unknown).dropIns.isEmpty)
        let other = RunChanges(from: run([:]), to: run([:], boot: "c", clock: 90_000_000))
        #expect(other.isOtherBoot)
        #expect(other.clockSeconds == nil)
    }
}
