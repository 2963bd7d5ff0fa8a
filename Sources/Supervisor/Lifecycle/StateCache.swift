internal import Services
internal import Systemd

/// What the records tell of runs that still go on, so that systemd need not be asked for each of them.
@EventLoopActor
final class StateCache {
    private let runs: [ServiceName: ServiceRun]
    private let bootID: String
    /// Where systemd tells the journal, and whoever reads it, which run of each unit goes on: a link that is named
    /// after the unit, from before its process starts until the unit is inactive.
    private let invocations: Directory
    private let groups = ControlGroups.current().slice(UnitFile.slice)

    /// Opens the directory of those links, `/run/systemd/units`.
    init(_ runs: [ServiceName: ServiceRun], bootID: String, invocationsIn path: String) throws(SystemError) {
        self.runs = runs
        self.bootID = bootID
        invocations = try Directory(path)
    }

    /// The state of a unit that runs, where its run is the one in the record; nil when only systemd knows. An id is
    /// never used for another run, so nothing can have happened to this one but its end, of which the list would tell.
    func state(of name: ServiceName, _ listed: ListedUnit) -> UnitState? {
        guard listed.activeState == .active, listed.subState == "running",
            // A count of restarts can be reset while a service runs, and of the output the unit's status tells.
            let run = runs[name], !run.hasEnded, run.bootID == bootID, run.restarts == 0, !run.isOutputDiscarded,
            let process = run.processes.last, process.startedAt == run.startedAt,
            let invocationID = run.invocationID, invocationID == self.invocationID(of: listed.unit),
            // The list does not tell that a unit is frozen.
            !groups.isFrozen(listed.unit)
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
