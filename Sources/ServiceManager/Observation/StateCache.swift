internal import Services
internal import Systemd

/// States of units that can be derived from the records, for a fast start: systemd is not asked for these units.
@EventLoopActor
final class StateCache {
    private let runs: [ServiceName: ServiceRun]
    private let bootID: String
    /// The directory in which systemd publishes the invocation id of each unit, for journald among others: a symbolic
    /// link `invocation:UNIT`, from before the process starts until the unit is inactive.
    private let invocations: Directory
    private let groups = ControlGroups.current().slice(UnitFile.slice)

    /// Opens that directory, `/run/systemd/units`. Throws when it cannot be opened.
    init(_ runs: [ServiceName: ServiceRun], bootID: String, invocationsIn path: String) throws(SystemError) {
        self.runs = runs
        self.bootID = bootID
        invocations = try Directory(path)
    }

    /// The state of a running unit whose current run is the one in the record; nil when only systemd knows it. An
    /// invocation id is never reused, so that run can only have ended, which the list of units would show.
    func state(of name: ServiceName, _ listed: ListedUnit) -> UnitState? {
        guard listed.activeState == .active, listed.subState == "running",
            // NRestarts can be reset while a service runs, and whether output is discarded is in StatusText.
            let run = runs[name], !run.hasEnded, run.bootID == bootID, run.restarts == 0, !run.isOutputDiscarded,
            let process = run.processes.last, process.startedAt == run.startedAt,
            let invocationID = run.invocationID, invocationID == self.invocationID(of: listed.unit),
            // The list of units does not show that a unit is frozen.
            !groups.isFrozen(UnitName.cgroup(of: name))
        else { return nil }
        var state = UnitState()
        state.activeState = listed.activeState
        state.subState = listed.subState
        state.mainPID = process.pid
        state.invocationID = invocationID
        state.main.pid = process.pid
        state.main.startedAt = process.startedAt
        return state
    }

    private func invocationID(of unit: String) -> String? {
        invocations.linkTarget("invocation:\(unit)").flatMap { Identifier($0) }?.description
    }
}
