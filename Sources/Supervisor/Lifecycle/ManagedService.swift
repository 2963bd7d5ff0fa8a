internal import Services

/// A service as the supervisor holds it: the record, and systemd's word on its unit.
///
/// What is shown of it is in one object that is replaced with every change, and what is hardly ever there in boxes: of
/// a thousand services most do nothing most of the time.
struct ManagedService {
    /// Record, state, intent and refusal.
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
            intent: record.isEnabled ? .none : .stop,
            refusal: nil
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

    /// systemd's reason for not taking the unit at the last start.
    var refusal: String? {
        get { snapshot.refusal }
        set {
            snapshot = Service(
                record: record,
                state: state,
                intent: intent,
                refusal: newValue,
                diagnosis: snapshot.diagnosis,
                pending: pending
            )
        }
    }

    /// What the journal tells of the run that has failed; nil when that is not known, or when the run is another one.
    var diagnosis: RunDiagnosis? {
        get { snapshot.diagnosis.flatMap { $0.startedAt == record.run.startedAt ? $0 : nil } }
        set {
            snapshot = Service(
                record: record,
                state: state,
                intent: intent,
                refusal: refusal,
                diagnosis: newValue,
                pending: pending
            )
        }
    }

    /// What was asked for and is not reached yet.
    var pending: PendingChange? {
        get { snapshot.pending }
        set {
            guard newValue != pending else { return }
            snapshot = Service(
                record: record,
                state: state,
                intent: intent,
                refusal: refusal,
                diagnosis: snapshot.diagnosis,
                pending: newValue
            )
        }
    }

    private mutating func show(
        record: ServiceRecord? = nil,
        state: UnitState? = nil,
        intent: ServiceStatus.Intent? = nil
    ) {
        let record = record ?? self.record
        let diagnosis = snapshot.diagnosis
        snapshot = Service(
            record: record,
            state: state ?? self.state,
            intent: intent ?? self.intent,
            refusal: refusal,
            diagnosis: diagnosis?.startedAt == record.run.startedAt ? diagnosis : nil,
            pending: pending
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

    /// Takes over a state, and what it says about intents that have come true.
    mutating func settle(_ newState: UnitState) {
        // From dead to alive: systemd has begun, or somebody started by hand what was stopped. A unit that is about to
        // be stopped reports its job while it is still active; that is no new beginning.
        let hasBegun = state.activeState.isDead && !newState.activeState.isDead
        // Whoever stops a service that has only just been started hears of its beginning all the same.
        let isBeingStopped = record.phase == .stopping || record.phase == .deleting
        let newIntent = hasBegun && !isBeingStopped ? .none : intent
        show(state: newState, intent: newIntent)
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
