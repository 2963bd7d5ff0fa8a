internal import Services

/// A service in the service manager's table: its record, and the state of its unit as systemd reported it.
///
/// The part that clients see is one object that is replaced with every change. Rare values are boxed: of a thousand
/// services most are idle most of the time.
struct ManagedService {
    /// Record, state, intent and remarks.
    private(set) var snapshot: Service {
        // Events may still reference the old object, which they encode at most once more: its cached encoding is
        // dropped.
        willSet { snapshot.forgetEncoding() }
    }
    /// The job of the newest start, until its end is known.
    var startJob: Job?
    private var suspended: Suspended?
    /// Counts the states that systemd reported. A held-back state is applied only if the count has not changed.
    private(set) var generation = 0
    /// The number of run ends that this agent has observed, by kind of end.
    private(set) var exits: [RunEnding: Int] = [:]

    /// `runBeforeAbsence` is the run in the record of an earlier agent.
    init(_ record: ServiceRecord, runBeforeAbsence: ServiceRun? = nil) {
        snapshot = Service(
            record: record,
            state: UnitState(),
            intent: record.isToRun ? .none : .stop
        )
        self.runBeforeAbsence = runBeforeAbsence
    }

    var record: ServiceRecord {
        get { snapshot.record }
        set { show(record: newValue) }
    }

    var state: UnitState { snapshot.state }

    var intent: ServiceStatus.Intent {
        get { snapshot.intent }
        set { show(intent: newValue) }
    }

    /// Unusual conditions: failures, drift, crash loops.
    var remarks: Remarks {
        get { snapshot.remarks }
        set {
            guard newValue != remarks else { return }
            snapshot = Service(record: record, state: state, intent: intent, remarks: newValue)
        }
    }

    private mutating func show(
        record: ServiceRecord? = nil,
        state: UnitState? = nil,
        intent: ServiceStatus.Intent? = nil
    ) {
        let record = record ?? self.record
        var remarks = remarks
        // The diagnosis is about an earlier run.
        if let diagnosis = remarks.diagnosis, diagnosis.invocationID != record.run.invocationID {
            remarks.diagnosis = nil
        }
        snapshot = Service(
            record: record,
            state: state ?? self.state,
            intent: intent ?? self.intent,
            remarks: remarks
        )
    }

    /// What is not known to be final.
    private final class Suspended {
        let runBeforeAbsence: ServiceRun?
        let heldBack: UnitState?
        let unrecordedRun: ServiceRun?

        init?(_ runBeforeAbsence: ServiceRun?, _ heldBack: UnitState?, _ unrecordedRun: ServiceRun?) {
            if runBeforeAbsence == nil, heldBack == nil, unrecordedRun == nil { return nil }
            self.runBeforeAbsence = runBeforeAbsence
            self.heldBack = heldBack
            self.unrecordedRun = unrecordedRun
        }
    }

    /// The run as it was before the connection to systemd was lost; nil when no signal can have been missed.
    var runBeforeAbsence: ServiceRun? {
        get { suspended?.runBeforeAbsence }
        set { suspended = Suspended(newValue, heldBack, unrecordedRun) }
    }

    /// The record as it is written to disk.
    var storedRecord: ServiceRecord { stored(record) }

    /// A record of this service as it is written to disk: with the run before the absence as long as its end may have
    /// been missed, and with a run that has ended as long as its record is not written. The next agent would not look
    /// up the end of a run that it does not know.
    func stored(_ record: ServiceRecord) -> ServiceRecord {
        guard let run = unrecordedRun ?? runBeforeAbsence else { return record }
        var record = record
        record.run = run
        return record
    }

    /// The oldest run that has ended and whose record is not written.
    var unrecordedRun: ServiceRun? {
        get { suspended?.unrecordedRun }
        set { suspended = Suspended(runBeforeAbsence, heldBack, newValue) }
    }

    /// A dead state that is not applied yet: a start may follow it (``mayRestartItself(from:)``,
    /// ``isBetweenStopAndStart(in:hasJob:)``).
    var heldBack: UnitState? {
        get { suspended?.heldBack }
        set { suspended = Suspended(runBeforeAbsence, newValue, unrecordedRun) }
    }

    var unit: String { UnitName.unit(of: record.spec.name) }

    /// Counts a newly observed end of a run, if it is known how the run ended.
    mutating func countExit(since run: ServiceRun) {
        guard record.run.exitedAt != run.exitedAt, let ending = record.run.ending else { return }
        exits[ending, default: 0] += 1
    }

    /// Estimates the state from the PIDs in the unit's cgroup, before systemd has reported it.
    mutating func estimate(_ pids: Set<Int>) {
        var state = UnitState()
        state.activeState = .unknown
        state.subState = ActiveState.unknown.rawValue
        if let process = record.run.processes.last, pids.contains(process.pid), !record.run.hasEnded {
            state.mainPID = process.pid
        }
        let isExpected = record.isExpectedToRun && record.phase != .stopping && record.phase != .deleting
        show(state: state, intent: !pids.isEmpty ? ServiceStatus.Intent.none : isExpected ? .start : .stop)
    }

    /// Applies what a reported state tells of the run. ``apply(_:)`` or ``heldBack`` follows.
    /// `dropIns` are those that the unit has.
    mutating func observe(_ state: UnitState, bootID: String, _ dropIns: [RunConditions.DropIn] = []) {
        generation += 1
        let before = record.run
        let isStoppedByHand = isStoppedByHand(in: state)
        var run = before
        run.observe(state, bootID: bootID)
        if run != before {
            var record = record
            record.run = run
            if run.invocationID != before.invocationID { record.beginRun(dropIns) }
            self.record = record
        }
        if record.isUnstarted, !state.activeState.isDead { record.isUnstarted = false }
        if leavesProcesses(in: state) { record.run.leftProcesses = true }
        if isStoppedByHand { record.run.wasStopped = true }
        countExit(since: before)
    }

    /// Applies a state, and clears an intent that it fulfils.
    mutating func apply(_ newState: UnitState) {
        // From dead to alive: a start has begun, on request or by hand. A unit with a stop job queued still reports
        // active; that is not a start.
        let wasDead = state.activeState.isDead || state.activeState == .unknown
        let hasBegun = wasDead && !newState.activeState.isDead
        // A stop request can overtake the state changes of the preceding start: these must not clear its intent.
        let isBeingStopped = record.phase == .stopping || record.phase == .deleting
        let newIntent = hasBegun && !isBeingStopped ? .none : intent
        var record = record
        if isStoppedBeforeRestart(in: newState) { record.run.wasStopped = true }
        show(record: record, state: newState, intent: newIntent)
        heldBack = nil
    }

    /// Whether a new state shows that the main process has ended with exit code 0 by itself while the unit had other
    /// processes, which systemd then stops. For a stop job, the first `deactivating` state has a main process. With
    /// pipes there is always another process: the relay.
    private func leavesProcesses(in newState: UnitState) -> Bool {
        newState.activeState == .deactivating && newState.subState.utf8.starts(with: "stop-sig".utf8)
            && newState.mainPID == nil && newState.main.ending == .exited(0) && state.activeState != .deactivating
            && intent != .stop && record.phase != .stopping && record.phase != .deleting
            && record.spec.stdio == .journal
    }

    /// Whether a new state shows the beginning of a stop job that the agent did not queue. When a unit stops by itself,
    /// the first `deactivating` state has no main process.
    private func isStoppedByHand(in newState: UnitState) -> Bool {
        newState.activeState == .deactivating && newState.mainPID != nil && newState.result == "success"
            && !state.activeState.isDead && state.activeState != .deactivating && isUndisturbed
    }

    /// Whether a stop job that the agent did not queue has cancelled an automatic restart.
    private func isStoppedBeforeRestart(in newState: UnitState) -> Bool {
        state.isAutoRestarting && newState.activeState == .inactive && isUndisturbed
    }

    /// Whether an end of the main process counts for a crash loop: it was not requested, and systemd restarts the unit.
    func isUnexpectedEnd(since run: ServiceRun) -> Bool {
        let isNewEnd = record.run.hasEnded ? !run.hasEnded : run.startedAt != record.run.startedAt && !run.hasEnded
        return isNewEnd && record.spec.restart != .no && !record.run.wasStopped && isUndisturbed
    }

    /// Whether no request is outstanding, so that a change has another cause.
    private var isUndisturbed: Bool { intent != .stop && record.phase == .established }

    /// Whether an automatic restart may follow: systemd reports a dead unit for an instant before it, which must not be
    /// taken for the end of the service.
    func mayRestartItself(from newState: UnitState) -> Bool {
        newState.activeState.isDead && record.spec.restart != .no && intent != .stop
    }

    /// Whether a restart by another client is between its halves: its job stops the unit, and starts it after that. The
    /// state that follows applies, also when the job is cancelled.
    func isBetweenStopAndStart(in newState: UnitState, hasJob: Bool) -> Bool {
        hasJob && newState.activeState.isDead && state.activeState != .unknown && !state.activeState.isDead
            && intent == .none && isUndisturbed
    }

    /// Whether the held-back state was the end of a run, and the new state follows a request of another client: a start
    /// or `reset-failed`. An automatic restart shows as a higher NRestarts or the sub-state `auto-restart`; the last
    /// one, which StartLimitBurst= refuses, shows as `inactive` before `failed`.
    func endedBefore(_ newState: UnitState) -> Bool {
        guard let heldBack, heldBack.mainPID == nil, newState.restarts == heldBack.restarts else { return false }
        guard !newState.activeState.isDead else {
            return newState.mainPID == nil && heldBack.activeState == .failed && newState.activeState == .inactive
        }
        return !newState.subState.hasPrefix("auto-restart")
    }
}

extension ServiceRecord {
    /// Notes what the newest run begins with.
    fileprivate mutating func beginRun(_ dropIns: [RunConditions.DropIn]) {
        if !changedFields.isEmpty || !dropIns.isEmpty {
            run.conditions = RunConditions(changedFields: changedFields, dropIns: dropIns)
        }
        changedFields = []
    }
}

extension ActiveState {
    /// Without a process and without a pending automatic restart.
    var isDead: Bool { self == .inactive || self == .failed }
}
