internal import Services

/// A service as the supervisor holds it: the record, and systemd's word on its unit.
struct ManagedService {
    var record: ServiceRecord { didSet { takeSnapshot() } }
    private(set) var state = UnitState() { didSet { takeSnapshot() } }
    var intent = ServiceStatus.Intent.none { didSet { takeSnapshot() } }
    /// The job of the newest start, until its end is known.
    var startJob: Job?
    /// systemd's reason for not taking the unit at the last start.
    var refusal: String? { didSet { takeSnapshot() } }
    /// What is shown of all that.
    private(set) var snapshot: Service
    /// The figures from before systemd was out of sight; nil when nothing can have been missed.
    var runBeforeAbsence: ServiceRun?
    /// Counts the states that systemd reported, so that one which was held back knows whether it is still the newest.
    var generation = 0
    /// A state that is held back until systemd has had its say.
    var heldBack: UnitState?
    /// What the readers of events were told last; nil before they have heard of the service.
    var announced: Service?
    /// How the runs ended whose end this agent has learned of, each with how often.
    private(set) var exits: [RunEnding: Int] = [:]

    init(_ record: ServiceRecord) {
        self.record = record
        runBeforeAbsence = record.run
        intent = record.isEnabled ? .none : .stop
        snapshot = Service(record: record, state: state, intent: intent, refusal: nil)
    }

    private mutating func takeSnapshot() {
        snapshot = Service(record: record, state: state, intent: intent, refusal: refusal)
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
        if state.activeState.isDead, !newState.activeState.isDead { intent = .none }
        state = newState
        heldBack = nil
    }

    /// Whether systemd may be about to start the unit again: it reports a dead unit for an instant in between, which is
    /// not to be taken for the end.
    func mayRestartItself(from newState: UnitState) -> Bool {
        newState.activeState.isDead && record.spec.restart != .no && intent != .stop
    }

    /// Whether the state that is held back was the end of something, and this one something else that somebody has
    /// asked for: a start, or that a failure be forgotten. systemd's own restart shows in the next process or a word
    /// for the wait.
    func endedBefore(_ newState: UnitState) -> Bool {
        guard let heldBack, heldBack.mainPID == nil, newState.restarts == heldBack.restarts else { return false }
        guard !newState.activeState.isDead else {
            return newState.mainPID == nil && newState.activeState != heldBack.activeState
        }
        return !newState.subState.hasPrefix("auto-restart")
    }
}

extension ActiveState {
    /// Without a process, and none to come by itself.
    var isDead: Bool { self == .inactive || self == .failed }
}
