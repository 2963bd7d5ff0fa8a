internal import Services
internal import Systemd

/// Diagnosis of failed runs: from the journal, and from the kernel's list of listening sockets.
@EventLoopActor
final class Diagnosis {
    private let services: ServiceTable
    private let desired: DesiredState
    private let announcements: Announcements
    private let changes: Changes
    private let logs: Logs
    private let ports: PortOwners
    private let systemd: SystemdClient
    private let messages: MessageLog
    /// The PATH that systemd gives to services.
    private let systemPath: String
    /// Services whose failure is to be diagnosed; the first one is in progress.
    private var undiagnosed: [ServiceName] = []
    private var isDiagnosing = false

    init(
        _ services: ServiceTable,
        _ desired: DesiredState,
        _ announcements: Announcements,
        _ changes: Changes,
        _ logs: Logs,
        _ ports: PortOwners,
        _ systemd: SystemdClient,
        _ messages: MessageLog,
        systemPath: String
    ) {
        self.services = services
        self.desired = desired
        self.announcements = announcements
        self.changes = changes
        self.logs = logs
        self.ports = ports
        self.systemd = systemd
        self.messages = messages
        self.systemPath = systemPath
    }

    /// The number of lines at the end of the log among which those of standard error are looked for.
    private static let linesLimit = 20
    /// How long a request waits for the diagnosis of the failure that it reports.
    private static let patience = Duration.seconds(6)
    /// How long journald may take to write the entries that it has just received: it synchronizes its files as well,
    /// which takes seconds on a busy disk.
    private static let journalPatience = Duration.seconds(5)
    /// How long a diagnosis that was made without the newest entries can still be completed.
    private static let lateJournalPatience = Duration.seconds(300)
    /// Services whose diagnosis was made without the newest entries of the journal, which is made again.
    private var incomplete: Set<ServiceName> = []

    /// Starts the diagnosis of a failure or of a crash loop, unless it is known.
    func begin(of name: ServiceName) {
        guard let service = services[name], service.lacksDiagnosis || incomplete.contains(name),
            !undiagnosed.contains(name)
        else { return }
        undiagnosed.append(name)
        guard !isDiagnosing else { return }
        isDiagnosing = true
        EventLoop.start { [weak self] in await self?.diagnose() }
    }

    /// Diagnoses one service after another: each reads files.
    private func diagnose() async {
        defer { isDiagnosing = false }
        while let name = undiagnosed.first {
            if let service = services[name] {
                incomplete.remove(name)
                let (diagnosis, isComplete) = await diagnosis(of: service.snapshot)
                // The service may have been started again, or another one may have the name.
                if let current = services[name], current.record.id == service.record.id {
                    services.change(name) { service in
                        if current.record.run.invocationID == diagnosis.invocationID {
                            service.remarks.diagnosis = diagnosis
                        }
                        service.remarks.crashLoop?.diagnosis = diagnosis
                    }
                    if !isComplete { completeLater(name, service.record) }
                }
            }
            undiagnosed.removeFirst()
            announcements.announce(name)
            desired.tell(name)
            // The service may have failed again during the diagnosis.
            begin(of: name)
        }
    }

    /// Waits for the diagnosis of a failure, if one is being made.
    func wait(for name: ServiceName) async {
        let begin = MonotonicClock.now()
        while undiagnosed.contains(name) {
            let left = Self.patience - MonotonicClock.now().duration(since: begin)
            guard left > .zero else { return }
            await changes.next(of: name, within: left)
        }
    }

    /// Diagnoses a failure again when journald has written the entries that were missing.
    private func completeLater(_ name: ServiceName, _ record: ServiceRecord) {
        EventLoop.start { [weak self] in
            guard await JournalSync.synchronize(within: Self.lateJournalPatience), let self,
                let current = services[name]?.record, current.id == record.id,
                current.run.invocationID == record.run.invocationID
            else { return }
            incomplete.insert(name)
            begin(of: name)
        }
    }

    /// `isComplete`: journald had written everything by then.
    private func diagnosis(of service: Service) async -> (diagnosis: RunDiagnosis, isComplete: Bool) {
        var evidence = RunDiagnosis.Evidence()
        // First: the owner of the port may be gone after the journal has been read.
        if case .exited = service.record.run.ending { evidence.portHolder = ports.holder(of: service) }
        let isComplete = await JournalSync.synchronize(within: Self.journalPatience)
        var begin = service.record.run.startedAt
        do throws(SystemError) {
            try FailureReport.add(to: &evidence, of: service)
        } catch {
            messages.notice(.warning, "cannot read in the journal why the service has failed: \(error)", service.name)
        }
        if let step = evidence.failedStep, let command = await command(of: step, service) {
            evidence.failedStep?.field = command.field
            // Not when PID 1 reported the begin: journald reads PID 1's messages and the lines of services in any
            // order.
            begin = command.begin
        }
        if service.needsErrorLines || evidence.failedStep?.field != nil {
            evidence.errorLines = await errorLines(of: service, since: begin)
        }
        let isFinal = service.status == .failed
        return (RunDiagnosis(of: service.record, evidence, systemPath: systemPath, isFinal: isFinal), isComplete)
    }

    /// The field of the spec whose command has failed, and when that command began.
    private func command(
        of step: RunDiagnosis.FailedStep,
        _ service: Service
    ) async -> (field: String, begin: Timestamp)? {
        // Without an answer, or after another start, it is not known; with drop-ins the commands may be a person's.
        guard service.dropIns.isEmpty,
            let failed = try? await systemd.failedCommand(of: UnitName.unit(of: service.name), step.setting),
            let field = UnitFile.field(of: step.setting, failed.place, service.record.spec)
        else { return nil }
        return (field, failed.begin)
    }

    /// The last lines that the newest run has written to standard error; none when the journal cannot be read.
    private func errorLines(of service: Service, since begin: Timestamp?) async -> [String] {
        var query = LogQuery()
        query.tail = Self.linesLimit
        query.since = begin
        var lines: [String] = []
        do throws(ControlError) {
            let log = try await logs.read(service.record.id, query, as: nil)
            while case .entries(let entries) = try await log.next() {
                lines += entries.filter { $0.stream == .stderr }.map(\.line)
            }
        } catch {
            messages.notice(.warning, "cannot read in the log why the service has failed: \(error)", service.name)
        }
        return lines
    }
}

extension ManagedService {
    /// Whether the service has failed or is in a crash loop, and the reason has not been looked up.
    fileprivate var lacksDiagnosis: Bool {
        if snapshot.status == .failed { return remarks.refusal == nil && remarks.diagnosis?.isFinal != true }
        guard state.isAutoRestarting, remarks.diagnosis == nil else { return false }
        return state.result == "oom-kill" || remarks.crashLoop.map { $0.diagnosis == nil } ?? false
    }
}

extension Service {
    /// Whether neither systemd nor the launcher explains the failure.
    fileprivate var needsErrorLines: Bool {
        guard case .exited(let code) = record.run.ending else { return false }
        return code != 0 && state.launchMark?.isFailure != true
    }
}
