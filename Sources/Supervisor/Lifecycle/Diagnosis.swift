internal import Services
internal import Systemd

/// Finding out why a run has failed: from the journal, and from the kernel's list of listening sockets.
extension Supervisor {
    /// The number of lines at the end of the log among which those of standard error are looked for.
    private static let linesLimit = 20
    /// How long an operation waits for the diagnosis of the failure that it reports.
    private static let patience = Duration.seconds(3)
    /// How long journald gets to write down what has just been sent to it.
    private static let journalPatience = Duration.seconds(2)

    /// Has a failure looked up, or what is behind a crash loop, unless that is known.
    func diagnoseFailure(of name: ServiceName) {
        guard let service = services[name], service.lacksDiagnosis, !undiagnosed.contains(name) else { return }
        undiagnosed.append(name)
        guard !isDiagnosing else { return }
        isDiagnosing = true
        EventLoop.start { [weak self] in await self?.diagnose() }
    }

    /// One after another: each reads files.
    private func diagnose() async {
        defer { isDiagnosing = false }
        while let name = undiagnosed.first {
            if let service = services[name] {
                let diagnosis = await diagnosis(of: service.snapshot)
                // The service may have been started again, or another one may have the name.
                if let current = services[name], current.record.id == service.record.id {
                    if current.record.run.invocationID == diagnosis.invocationID {
                        services[name]?.remarks.diagnosis = diagnosis
                    }
                    services[name]?.remarks.crashLoop?.diagnosis = diagnosis
                }
            }
            undiagnosed.removeFirst()
            announce(name)
            tell(name)
            // It may have failed once more meanwhile.
            diagnoseFailure(of: name)
        }
    }

    /// Waits until the diagnosis of a failure is there, where one is being made.
    func awaitDiagnosis(of name: ServiceName) async {
        let begin = MonotonicClock.now()
        while undiagnosed.contains(name) {
            let left = Self.patience - MonotonicClock.now().duration(since: begin)
            guard left > .zero else { return }
            await nextChange(of: name, within: left)
        }
    }

    private func diagnosis(of service: Service) async -> RunDiagnosis {
        var evidence = RunDiagnosis.Evidence()
        // Now: it may be gone when the journal has been read.
        if case .exited = service.record.run.ending { evidence.portHolder = portHolder(of: service) }
        await JournalSync.synchronize(within: Self.journalPatience)
        if service.needsErrorLines { evidence.errorLines = await errorLines(of: service) }
        do throws(SystemError) {
            try FailureReport.add(to: &evidence, of: service)
        } catch {
            notice(.warning, "cannot read in the journal why the service has failed: \(error)", service.name)
        }
        return RunDiagnosis(of: service.record, evidence, systemPath: configuration.systemPath)
    }

    /// The last lines that the newest run has written to standard error; none when the journal cannot be read.
    private func errorLines(of service: Service) async -> [String] {
        var query = LogQuery()
        query.tail = Self.linesLimit
        query.since = service.record.run.startedAt
        var lines: [String] = []
        do throws(ControlError) {
            let log = try await readLog(service.record.id, query, as: nil)
            while case .entries(let entries) = try await log.next() {
                lines += entries.filter { $0.stream == .stderr }.map(\.line)
            }
        } catch {
            notice(.warning, "cannot read in the log why the service has failed: \(error)", service.name)
        }
        return lines
    }
}

extension ManagedService {
    /// Whether it has failed, or is in a crash loop, for a reason that has not been looked up.
    fileprivate var lacksDiagnosis: Bool {
        if snapshot.status == .failed { return remarks.refusal == nil && remarks.diagnosis == nil }
        guard state.isAutoRestarting, remarks.diagnosis == nil else { return false }
        return state.result == "oom-kill" || remarks.crashLoop.map { $0.diagnosis == nil } ?? false
    }
}

extension Service {
    /// Whether systemd and the launcher do not explain the failure themselves.
    fileprivate var needsErrorLines: Bool {
        guard case .exited(let code) = record.run.ending else { return false }
        return code != 0 && state.launchMark?.isFailure != true
    }
}

/// What systemd and the kernel write into the journal about a run that has failed.
private enum FailureReport {
    /// "Process could not be executed": sd-messages(3).
    private static let spawnFailed = "641257651c1b4ec9a8624d7a40a9e1e7"

    static func add(to evidence: inout RunDiagnosis.Evidence, of service: Service) throws(SystemError) {
        let run = service.record.run
        if service.state.result == "oom-kill" { evidence.outOfMemory = try outOfMemory(service) }
        guard let invocationID = run.invocationID?.filter({ $0 != "-" }) else { return }
        // The exit codes that systemd has for itself.
        if case .exited(200...) = run.ending { evidence.setUpFailure = try setUpFailure(service, invocationID) }
        if !run.hasMainProcess { evidence.failedStep = try failedStep(service, invocationID) }
        if service.record.spec.restart != .no { evidence.hasGivenUp = try hasGivenUp(service, invocationID) }
    }

    /// "Failed at step USER spawning …: No such process"; nil when nothing of the kind was written of the run.
    private static func setUpFailure(_ service: Service, _ invocationID: String) throws(SystemError) -> String? {
        let unit = UnitName.unit(of: service.name)
        let journal = try JournalReader()
        try journal.match("MESSAGE_ID", spawnFailed)
        try journal.match("INVOCATION_ID", invocationID)
        try journal.seekHead()
        while try journal.next() {
            // The process that was to become the service's, as root or already as the service's account.
            guard journal.field("_UID", is: "0") ?? false || journal.field("_SYSTEMD_UNIT", is: unit) ?? false else {
                continue
            }
            guard let message = journal.field("MESSAGE") else { continue }
            // "miosa-service-web.service: Failed at step …"
            let prefix = unit + ": "
            return message.utf8.starts(with: prefix.utf8) ? String(message.dropFirst(prefix.count)) : message
        }
        return nil
    }

    /// The process beside the main one that systemd says has failed.
    private static func failedStep(
        _ service: Service,
        _ invocationID: String
    ) throws(SystemError) -> RunDiagnosis.FailedStep? {
        let journal = try messages(of: service, invocationID)
        try journal.match("MESSAGE_ID", RunHistory.processExited)
        try journal.seekHead()
        while try journal.next() {
            guard let setting = journal.field("COMMAND"), setting != "ExecStart",
                let ending = RunHistory.ending(journal.field("EXIT_CODE"), journal.field("EXIT_STATUS"))
            else { continue }
            return RunDiagnosis.FailedStep(setting: setting, ending: ending)
        }
        return nil
    }

    /// Whether systemd has refused a start because of the start limit.
    private static func hasGivenUp(_ service: Service, _ invocationID: String) throws(SystemError) -> Bool {
        let journal = try messages(of: service, invocationID)
        try journal.seekTail()
        while try journal.previous() {
            if journal.field("MESSAGE")?.hasSuffix("Start request repeated too quickly.") ?? false { return true }
        }
        return false
    }

    /// A reader of what PID 1 has written about a run.
    private static func messages(of service: Service, _ invocationID: String) throws(SystemError) -> JournalReader {
        let journal = try JournalReader()
        try journal.match("_PID", "1")
        try journal.match("UNIT", UnitName.unit(of: service.name))
        try journal.match("INVOCATION_ID", invocationID)
        return journal
    }

    /// How many of the kernel's messages are looked through: a kill writes some hundred.
    private static let kernelMessagesLimit = 2000

    /// Whose memory ran out, by the kernel's line
    /// `oom-kill:constraint=CONSTRAINT_MEMCG,…,oom_memcg=/a.slice/b.service,task_memcg=/a.slice/b.service,…`.
    private static func outOfMemory(_ service: Service) throws(SystemError) -> RunDiagnosis.OutOfMemory? {
        let unit = UnitName.unit(of: service.name)
        let journal = try JournalReader()
        try journal.match("_TRANSPORT", "kernel")
        try journal.seekTail()
        var count = 0
        while try journal.previous(), count < kernelMessagesLimit {
            count += 1
            guard let message = journal.field("MESSAGE"), message.hasPrefix("oom-kill:constraint=") else { continue }
            var members: [Substring: Substring] = [:]
            for pair in message.dropFirst("oom-kill:".count).split(separator: ",") {
                guard let equals = pair.firstIndex(of: "=") else { continue }
                members[pair[..<equals]] = pair[pair.index(after: equals)...]
            }
            func components(_ key: Substring) -> [Substring] { members[key]?.split(separator: "/") ?? [] }
            guard components("task_memcg").contains(unit[...]) else { continue }
            guard members["constraint"] == "CONSTRAINT_MEMCG" else { return .machine }
            let group = components("oom_memcg")
            if group.contains(unit[...]) { return .serviceLimit }
            return group.last.map { .sliceLimit(String($0)) } ?? .machine
        }
        return nil
    }
}
