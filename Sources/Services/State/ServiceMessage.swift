/// The sentence that tells a person what is wrong with a service and what to do about it.
enum ServiceMessage {
    /// Nil when nothing is wrong.
    static func text(
        status: ServiceStatus,
        spec: ServiceSpec,
        state: UnitState,
        run: ServiceRun,
        refusal: String?
    ) -> String? {
        switch status {
        case .running, .removed: nil
        case .starting: state.subState.hasPrefix("auto-restart") ? restarting(spec, run) : nil
        case .stopped: stopped(run)
        case .failed: refusal.map { "systemd does not start the unit: \($0)" } ?? failed(spec, state, run)
        }
    }

    private static func restarting(_ spec: ServiceSpec, _ run: ServiceRun) -> String? {
        run.ending.map { "\(describe($0, spec)); systemd starts it again" }
    }

    private static func stopped(_ run: ServiceRun) -> String? {
        guard let ending = run.ending else { return nil }
        switch (run.result, ending) {
        case ("timeout", _):
            return "did not end within \(UnitFile.stopTimeoutSeconds) s of SIGTERM and was killed"
        case (_, .exited(0)), (_, .killed(signal: 15)): return nil
        case (_, .exited(let code)): return "ended with exit code \(code) when it was stopped"
        case (_, .killed): return "ended by \(ending.signalName ?? "a signal") when it was stopped"
        }
    }

    private static func failed(_ spec: ServiceSpec, _ state: UnitState, _ run: ServiceRun) -> String {
        let isLimited = state.result == "start-limit-hit" || state.restarts >= UnitFile.startLimitBurst
        let limit =
            isLimited
            ? "; systemd gave up after \(UnitFile.startLimitBurst) starts in \(UnitFile.startLimitIntervalSeconds) s,"
                + " start the service to try again"
            : ""
        switch state.result {
        case "oom-kill": return "ended because the machine ran out of memory (oom-kill)" + limit
        case "timeout": return "did not start or stop in time and was killed (timeout)" + limit
        case "watchdog": return "was killed by systemd's watchdog" + limit
        case "resources": return "systemd could not set up the process (resources); see the journal of the unit" + limit
        default: break
        }
        guard let ending = run.ending else { return "failed with result '\(state.result)'" + limit }
        return describe(ending, spec) + limit
    }

    private static func describe(_ ending: RunEnding, _ spec: ServiceSpec) -> String {
        guard case .exited(let code) = ending else { return "ended by \(ending.signalName ?? "a signal")" }
        switch code {
        case 125 where !UnitSyntax.isNormalized(spec.workingDirectory):
            return "working directory '\(spec.workingDirectory)' cannot be entered (exit code 125 of env)"
        case 126: return "the command cannot be executed (exit code 126 of the shell): check its permissions"
        case 127: return "the command was not found (exit code 127 of the shell): check its name and PATH"
        case 200: return "working directory '\(spec.workingDirectory)' does not exist (systemd 200/CHDIR)"
        case 217: return "account '\(spec.user)' does not exist (systemd 217/USER)"
        default:
            let name = ExitStatusName.systemd[code].map { " (systemd \(code)/\($0))" }
            return "exited with code \(code)\(name ?? "")"
        }
    }
}
