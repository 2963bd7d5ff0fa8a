internal import Services

/// A service as the supervisor holds it: the record, and systemd's word on its unit.
///
/// What is shown of it is in one object that is replaced with every change, and what is hardly ever there in boxes: of
/// a thousand services most do nothing most of the time.
struct ManagedService {
    /// Record, state, intent and remarks.
    private(set) var snapshot: Service {
        // Whoever still has the old one, such as the events, shows it once at most.
        willSet { snapshot.forgetEncoding() }
    }
    /// The job of the newest start, until its end is known.
    var startJob: Job?
    private var heldBackState: Box<UnitState>?
    private var runBefore: Box<ServiceRun>?
    /// Counts the states that systemd reported, so that one which was held back knows whether it is still the newest.
    var generation = 0
    /// What the readers of events were told last; nil before they have heard of the service.
    var announced: Service?
    /// How the runs ended whose end this agent has learned of, each with how often.
    private(set) var exits: [RunEnding: Int] = [:]

    init(_ record: ServiceRecord) {
        snapshot = Service(
            record: record,
            state: UnitState(),
            intent: record.isEnabled ? .none : .stop
        )
        runBeforeAbsence = record.run
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

    /// What is out of the ordinary.
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
        // It is about another run.
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

    /// The figures from before systemd was out of sight; nil when nothing can have been missed.
    var runBeforeAbsence: ServiceRun? {
        get { runBefore?.value }
        set { runBefore = newValue.map { Box($0) } }
    }

    /// A state that is held back until systemd has had its say.
    var heldBack: UnitState? {
        get { heldBackState?.value }
        set { heldBackState = newValue.map { Box($0) } }
    }

    var unit: String { UnitName.unit(of: record.spec.name) }

    /// Counts the end of a run that was not known of before, where it is known how it ended.
    mutating func countExit(since run: ServiceRun) {
        guard record.run.exitedAt != run.exitedAt, let ending = record.run.ending else { return }
        exits[ending, default: 0] += 1
    }

    /// Takes over what the kernel tells of the unit's processes before systemd has told the state: their PIDs.
    mutating func estimate(_ pids: Set<Int>) {
        var state = UnitState()
        state.activeState = .unknown
        state.subState = ActiveState.unknown.rawValue
        if let process = record.run.processes.last, pids.contains(process.pid), !record.run.hasEnded {
            state.mainPID = process.pid
        }
        let isExpected = record.isEnabled && record.phase != .stopping && record.phase != .deleting
        show(state: state, intent: !pids.isEmpty ? ServiceStatus.Intent.none : isExpected ? .start : .stop)
    }

    /// Takes over a state, and what it says about intents that have come true.
    mutating func settle(_ newState: UnitState) {
        // From dead to alive: systemd has begun, or somebody started by hand what was stopped. A unit that is about to
        // be stopped reports its job while it is still active; that is no new beginning.
        let wasDead = state.activeState.isDead || state.activeState == .unknown
        let hasBegun = wasDead && !newState.activeState.isDead
        // Whoever stops a service that has only just been started hears of its beginning all the same.
        let isBeingStopped = record.phase == .stopping || record.phase == .deleting
        let newIntent = hasBegun && !isBeingStopped ? .none : intent
        var record = record
        if isStoppedBeforeRestart(in: newState) { record.run.wasStopped = true }
        show(record: record, state: newState, intent: newIntent)
        heldBack = nil
    }

    /// Whether a new state shows that the main process has ended with exit code 0, by itself, while other processes of
    /// the unit were there: systemd stops them then. When a stop job stops the unit, the first state that is
    /// `deactivating` has a main process. The relay of pipes is such a process and always there.
    func leavesProcesses(in newState: UnitState) -> Bool {
        newState.activeState == .deactivating && newState.subState.utf8.starts(with: "stop-sig".utf8)
            && newState.mainPID == nil && newState.main.ending == .exited(0) && state.activeState != .deactivating
            && intent != .stop && record.phase != .stopping && record.phase != .deleting
            && record.spec.stdio == .journal
    }

    /// Whether a new state shows that a stop job has begun which the agent did not queue. When a unit stops by itself,
    /// the first state that is `deactivating` has no main process.
    func isStoppedByHand(in newState: UnitState) -> Bool {
        newState.activeState == .deactivating && newState.mainPID != nil && newState.result == "success"
            && !state.activeState.isDead && state.activeState != .deactivating && isUndisturbed
    }

    /// Whether a stop job that the agent did not queue has kept systemd from starting the unit again.
    private func isStoppedBeforeRestart(in newState: UnitState) -> Bool {
        state.isAutoRestarting && newState.activeState == .inactive && isUndisturbed
    }

    /// Whether the main process has ended in a way that counts for a crash loop: nobody has asked for it, and systemd
    /// starts the unit again.
    func isUnexpectedEnd(since run: ServiceRun) -> Bool {
        let isNewEnd = record.run.hasEnded ? !run.hasEnded : run.startedAt != record.run.startedAt && !run.hasEnded
        return isNewEnd && record.spec.restart != .no && !record.run.wasStopped && isUndisturbed
    }

    /// Whether nothing that was asked for is outstanding, so that what happens has other reasons.
    private var isUndisturbed: Bool { intent != .stop && record.phase == .established }

    /// Whether systemd may be about to start the unit again: it reports a dead unit for an instant in between, which is
    /// not to be taken for the end.
    func mayRestartItself(from newState: UnitState) -> Bool {
        newState.activeState.isDead && record.spec.restart != .no && intent != .stop
    }

    /// Whether the state that is held back was the end of a run, and the new state follows a request from outside: a
    /// start, or `reset-failed`. An automatic restart by systemd shows in a higher NRestarts or the sub-state
    /// `auto-restart`; the last one, which StartLimitBurst= refuses, shows as `inactive` before `failed`.
    func endedBefore(_ newState: UnitState) -> Bool {
        guard let heldBack, heldBack.mainPID == nil, newState.restarts == heldBack.restarts else { return false }
        guard !newState.activeState.isDead else {
            return newState.mainPID == nil && heldBack.activeState == .failed && newState.activeState == .inactive
        }
        return !newState.subState.hasPrefix("auto-restart")
    }
}

extension ActiveState {
    /// Without a process, and none to come by itself.
    var isDead: Bool { self == .inactive || self == .failed }
}
