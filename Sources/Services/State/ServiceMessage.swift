/// The sentence for a person: what is wrong with a service, and the remedy.
enum ServiceMessage {
    /// A command that ends with exit code 0 within this time and leaves processes behind has put itself into the
    /// background.
    static let backgroundMicroseconds: Int64 = 10_000_000

    /// Nil when nothing is wrong.
    static func text(of service: Service) -> String? {
        let fact = fact(of: service)
        guard let drift = service.drift?.sentence else { return fact }
        return fact.map { "\($0); \(drift)" } ?? drift
    }

    private static func fact(of service: Service) -> String? {
        if service.state.activeState == .unknown {
            return "systemd has not told the unit's state yet: this is what the record and the kernel say"
        }
        switch service.status {
        case .running: return running(service)
        case .removed: return nil
        case .starting: return starting(service)
        case .stopped: return stopped(service)
        case .failed:
            return service.refusal.map { "systemd does not start the unit: \($0)" } ?? failed(service)
        }
    }

    private static func running(_ service: Service) -> String? {
        if let loop = crashLoop(service) { return loop }
        if let mark = service.state.launchMark, mark.step == .journal { return mark.sentence }
        let run = service.record.run
        if let port = service.record.spec.port, let uncertain = service.remarks.uncertainPortRun,
            uncertain == run.invocationID
        {
            return "port \(port) accepts connections, and this kernel does not report whether it is the service's: a"
                + " process of the account '\(service.record.spec.user)' listens"
        }
        guard run.result == "oom-kill", run.restarts > 0, let exitedAt = run.exitedAt else { return nil }
        return "a run before was killed at \(exitedAt) because memory ran out (oom-kill); systemd has started it again"
    }

    private static func starting(_ service: Service) -> String? {
        if let loop = crashLoop(service) { return loop }
        guard service.state.isRestarting else { return nil }
        if [service.state.result, service.record.run.result].contains("oom-kill") {
            return "\(outOfMemory(service.diagnosis)); systemd starts it again"
        }
        guard let ending = service.record.run.ending else { return nil }
        return "\(describe(ending, service)); systemd starts it again"
    }

    /// The number of ends, the last one, and its cause in the journal.
    private static func crashLoop(_ service: Service) -> String? {
        guard let loop = service.remarks.crashLoop else { return nil }
        let last: String
        if service.record.run.result == "oom-kill" {
            last = outOfMemory(loop.diagnosis)
        } else {
            let mark = service.state.launchMark.flatMap { $0.isFailure ? $0.sentence : nil }
            let ending = service.record.run.ending
            last = mark ?? ending.map { describe($0, service, loop.diagnosis) } ?? "in a way that is not known"
        }
        return "crash loop: \(loop.ends) ends without a run of \(CrashLoop.steadySeconds) s, the last one: \(last)"
    }

    private static func stopped(_ service: Service) -> String? {
        let run = service.record.run
        guard let ending = run.ending else { return nil }
        if let sentence = leftProcesses(run) { return sentence }
        let wasAsked = service.intent == .stop || run.wasStopped
        switch (run.result, ending) {
        case ("timeout", _) where wasAsked:
            let spec = service.record.spec
            return "did not end within \(spec.stopTimeout) s of \(spec.stopSignal) and was killed"
        case (_, .exited(0)): return nil
        case (_, .killed(let signal))
        where wasAsked && (signal == 15 || SignalName.name(of: signal) == service.record.spec.stopSignal):
            return nil
        // As a shell and a Java machine report their end by the signal.
        case (_, .exited(let code)) where wasAsked && SignalName.name(of: code - 128) == service.record.spec.stopSignal:
            return nil
        case (_, .exited(let code)):
            return wasAsked ? "ended with exit code \(code) when it was stopped" : "exited with code \(code)"
        case (_, .killed):
            // systemd treats SIGHUP, SIGINT, SIGTERM and SIGPIPE as a clean end: systemd.service(5),
            // SuccessExitStatus=.
            let name = ending.signalName ?? "a signal"
            return wasAsked
                ? "ended by \(name) when it was stopped"
                : "ended by \(name) without a stop that was asked for"
        }
    }

    /// The message for a command that left processes behind.
    private static func leftProcesses(_ run: ServiceRun) -> String? {
        guard run.leftProcesses, run.ending == .exited(0) else { return nil }
        let fact = "ended with exit code 0 and left processes behind, which systemd stopped"
        guard let startedAt = run.startedAt, let exitedAt = run.exitedAt,
            exitedAt.microseconds - startedAt.microseconds < backgroundMicroseconds
        else { return fact }
        return fact + ": the command put itself into the background; run it in the foreground (without '&', 'nohup' or"
            + " a daemon option; nginx -g 'daemon off;', redis-server --daemonize no)"
    }

    private static func failed(_ service: Service) -> String {
        let state = service.state
        let limit = hasGivenUp(service) ? giveUp(service) : ""
        if let sentence = leftProcesses(service.record.run) { return sentence + limit }
        if let step = service.diagnosis?.failedStep { return describe(step, service) + limit }
        switch state.result {
        case "oom-kill": return outOfMemory(service.diagnosis) + limit
        case "timeout": return "did not start or stop in time and was killed (timeout)" + limit
        case "watchdog": return "was killed by systemd's watchdog" + limit
        case "resources": return "systemd could not set up the process (resources); see the journal of the unit" + limit
        default: break
        }
        guard let ending = service.record.run.ending else {
            let fact = service.record.run.hasMainProcess ? "failed" : "failed before it came to its command,"
            return "\(fact) with result '\(state.result)'" + limit
        }
        return describe(ending, service) + limit
    }

    /// A command before the start, or after the end, that has failed.
    private static func describe(_ step: RunDiagnosis.FailedStep, _ service: Service) -> String {
        guard let field = step.field else {
            let fact = service.record.run.hasMainProcess ? "" : "did not come to its command: "
            return "\(fact)\(step.setting)= of the unit \(describe(step.ending))"
        }
        let line = service.diagnosis?.lastErrorLine
        if let line, let mark = LaunchMark(statusText: line), mark.isFailure {
            return "\(field): \(mark.sentence)"
        }
        return "\(field) \(describe(step.ending))" + quoted(line)
    }

    /// Whether systemd has refused a start because of the start limit. In systemd 252 `Result` shows that only if the
    /// run before was a success.
    private static func hasGivenUp(_ service: Service) -> Bool {
        service.state.result == "start-limit-hit" || service.diagnosis?.hasGivenUp ?? false
    }

    private static func giveUp(_ service: Service) -> String {
        let limit = service.record.spec.restartLimit.map { "\($0.starts) starts in \($0.seconds) s" }
        // A drop-in may have set another limit.
        let isKnown = service.dropIns.isEmpty
        let starts = (isKnown ? limit : nil) ?? "the starts that the unit's start limit allows"
        return "; systemd gave up after \(starts), start the service to try again"
    }

    private static func outOfMemory(_ diagnosis: RunDiagnosis?) -> String {
        switch diagnosis?.outOfMemory {
        case .serviceLimit(let figures):
            "was killed because it reached its own memory limit\(figures.map(describe) ?? "") (oom-kill)"
        case .sliceLimit(let slice): "was killed because \(slice) reached its memory limit (oom-kill)"
        case .machine: "was killed because the machine ran out of memory (oom-kill)"
        case nil: "was killed because memory ran out: the service's limit or the machine's (oom-kill)"
        }
    }

    private static func describe(_ figures: RunDiagnosis.MemoryFigures) -> String {
        " of \(mebibytes(figures.limit)), with a peak of \(mebibytes(figures.usage))"
    }

    /// A size in KiB with one decimal: "100.0 MiB".
    private static func mebibytes(_ kibibytes: Int) -> String {
        let tenths = kibibytes * 10 / 1024
        return "\(tenths / 10).\(tenths % 10) MiB"
    }

    private static func describe(_ ending: RunEnding) -> String {
        switch ending {
        case .exited(let code): "exited with code \(code)"
        case .killed: "was ended by \(ending.signalName ?? "a signal")"
        }
    }

    private static func describe(_ ending: RunEnding, _ service: Service) -> String {
        describe(ending, service, service.diagnosis)
    }

    private static func describe(_ ending: RunEnding, _ service: Service, _ diagnosis: RunDiagnosis?) -> String {
        if let sentence = leftProcesses(service.record.run) { return sentence }
        let holder = portHolder(service, diagnosis)
        guard case .exited(let code) = ending else { return "ended by \(ending.signalName ?? "a signal")" + holder }
        if let mark = service.state.launchMark, mark.isFailure { return "\(mark.sentence) (exit code \(code))" }
        if let failure = diagnosis?.setUpFailure { return setUp(failure, code, service.record.spec) }
        let line = diagnosis?.lastErrorLine
        if let line, let hint = standardStreamHint(line, service.record.spec) {
            return "exited with code \(code): \(line); \(hint)"
        }
        if code == 127, let line, RunDiagnosis.namesCarriageReturn(line) {
            return
                "exited with code 127: \(line); the first line of a script ends with CR LF: save the file with LF line"
                + " ends"
        }
        if [126, 127].contains(code), !ShellCommand.isPlainProgram(service.record.spec.command) {
            return shell(code, line, service.record.spec, diagnosis)
        }
        return "exited with code \(code)" + quoted(line) + holder
    }

    private static func portHolder(_ service: Service, _ diagnosis: RunDiagnosis?) -> String {
        guard let port = service.record.spec.port, let holder = diagnosis?.portHolder else { return "" }
        return "; port \(port) is held by \(holder)"
    }

    private static func quoted(_ line: String?) -> String {
        line.map { "; its last line on standard error: \($0)" } ?? ""
    }

    // MARK: systemd

    /// systemd could not set up the process; its exit codes for that are 200 and above.
    private static func setUp(_ failure: String, _ code: Int, _ spec: ServiceSpec) -> String {
        let name = ExitStatusName.systemd[code].map { "systemd \(code)/\($0)" } ?? "exit code \(code)"
        switch code {
        case 203 where contains(failure, UnitFile.launcherPrefix) && contains(failure, "No such file"):
            return "systemd cannot run the launcher of services: install miosa-agent again (\(name): \(failure))"
        case 216:
            let group = spec.group ?? spec.user
            return "group '\(group)' does not exist (\(name))"
        case 217: return "account '\(spec.user)' does not exist (\(name))"
        default: return "systemd could not set up the process (\(name)): \(failure)"
        }
    }

    // MARK: Shells

    /// A command that a shell did not find, or could not execute.
    private static func shell(
        _ code: Int,
        _ line: String?,
        _ spec: ServiceSpec,
        _ diagnosis: RunDiagnosis?
    ) -> String {
        let shell = spec.shell.words(for: spec.command)[0]
        guard code == 127 else {
            return "the shell \(shell) cannot execute a command (exit code \(code)): check its permissions"
                + quoted(line)
        }
        var text = "the shell \(shell) did not find a command (exit code \(code))" + (line.map { ": \($0)" } ?? "")
        if spec.shell == .sh, let word = line.flatMap(missingWord), bashWords.contains(word) {
            text += "; '\(word)' is a word of bash, which \(shell) is not: set shell to 'bash'"
        }
        return text + (diagnosis.map { "; PATH was \($0.path)" } ?? "")
    }

    /// The word that a shell did not find: "/bin/sh: 1: source: not found", "sh: line 1: [[: command not found".
    static func missingWord(in line: String) -> String? {
        let parts = line.split(separator: ":").map { part in
            String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
        guard parts.count >= 3, ["not found", "command not found"].contains(parts[parts.count - 1]) else { return nil }
        return parts[parts.count - 2]
    }

    /// Built-ins and reserved words that bash has and a shell of POSIX has not.
    private static let bashWords: Set<String> = [
        "[[", "]]", "((", "bind", "builtin", "caller", "compgen", "complete", "compopt", "coproc", "declare", "dirs",
        "disown", "enable", "function", "history", "let", "logout", "mapfile", "popd", "pushd", "readarray", "select",
        "shopt", "source", "suspend", "time", "typeset",
    ]

    // MARK: Standard streams

    /// What to do where a program could not open its standard output or error by name.
    private static func standardStreamHint(_ line: String, _ spec: ServiceSpec) -> String? {
        guard spec.stdio == .journal else { return nil }
        let names = ["/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2", "/proc/self/fd/1", "/proc/self/fd/2"]
        let errors = ["No such device or address", "ENXIO"]
        guard names.contains(where: { contains(line, $0) }), errors.contains(where: { contains(line, $0) }) else {
            return nil
        }
        return "standard output and error are sockets, which cannot be opened by name: set stdio to 'pipe'"
    }

    private static func contains(_ text: String, _ other: String) -> Bool {
        let bytes = Array(other.utf8)
        var rest = text.utf8[...]
        while !rest.isEmpty {
            if rest.starts(with: bytes) { return true }
            rest = rest.dropFirst()
        }
        return false
    }
}
