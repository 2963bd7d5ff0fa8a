internal import Services
internal import Systemd

/// Finding out from the journal why a service has failed.
extension Supervisor {
    /// The number of lines at the end of the log among which those of standard error are looked for.
    private static let linesLimit = 20
    /// How long an operation waits for the diagnosis of the failure that it reports.
    private static let patience = Duration.seconds(3)

    /// Has a failure that systemd and the launcher do not explain looked up.
    func diagnoseFailure(of name: ServiceName) {
        guard let service = services[name], service.snapshot.status == .failed, service.refusal == nil,
            service.diagnosis == nil, case .exited(let code) = service.record.run.ending, code != 0,
            service.state.launchMark?.isFailure != true, !undiagnosed.contains(name)
        else { return }
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
                if let current = services[name], current.record.id == service.record.id,
                    current.record.run.startedAt == diagnosis.startedAt
                {
                    services[name]?.diagnosis = diagnosis
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
        let lines = await errorLines(of: service)
        // After the lines, for which journald was made to write down everything.
        let setUpFailure = try? SetUpFailure.text(of: service)
        return RunDiagnosis(
            of: service.record,
            setUpFailure: setUpFailure,
            errorLines: lines,
            systemPath: configuration.systemPath
        )
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

/// What systemd writes into the journal when it cannot set up the process of a unit.
private enum SetUpFailure {
    /// "Process could not be executed": sd-messages(3).
    private static let spawnFailed = "641257651c1b4ec9a8624d7a40a9e1e7"

    /// "Failed at step USER spawning …: No such process"; nil when nothing of the kind was written of the newest run.
    static func text(of service: Service) throws(SystemError) -> String? {
        // The exit codes that systemd has for itself.
        guard case .exited(let code) = service.record.run.ending, code >= 200,
            let invocationID = service.record.run.invocationID
        else { return nil }
        let unit = UnitName.unit(of: service.name)
        let journal = try JournalReader()
        try journal.match("MESSAGE_ID", spawnFailed)
        try journal.match("INVOCATION_ID", invocationID.filter { $0 != "-" })
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
}
