internal import Services
internal import Systemd

/// What systemd and the kernel write into the journal about a run that has failed.
enum FailureReport {
    /// "Process could not be executed": sd-messages(3).
    private static let spawnFailed = "641257651c1b4ec9a8624d7a40a9e1e7"

    static func add(to evidence: inout RunDiagnosis.Evidence, of service: Service) throws(SystemError) {
        let run = service.record.run
        if service.state.result == "oom-kill" { evidence.outOfMemory = try outOfMemory(service.name) }
        guard let invocationID = run.invocationID?.filter({ $0 != "-" }) else { return }
        // Exit codes from 200 on are systemd's own: systemd.exec(5), "Process Exit Codes".
        if case .exited(200...) = run.ending { evidence.setUpFailure = try setUpFailure(service.name, invocationID) }
        if service.record.spec.restart != .no { evidence.hasGivenUp = try hasGivenUp(service, invocationID) }
        guard !run.hasMainProcess || isClean(run.ending) else { return }
        evidence.failedStep = try failedStep(service, invocationID)
    }

    /// Whether systemd counts the end of a main process as a success: systemd.service(5), SuccessExitStatus=.
    private static func isClean(_ ending: RunEnding?) -> Bool {
        switch ending {
        case .exited(0), .killed(signal: 1), .killed(signal: 2), .killed(signal: 13), .killed(signal: 15): true
        default: false
        }
    }

    /// "Failed at step USER spawning …: No such process"; nil when the journal has no such entry for the run.
    static func setUpFailure(_ name: ServiceName, _ invocationID: String) throws(SystemError) -> String? {
        let unit = UnitName.unit(of: name)
        let journal = try JournalReader()
        try journal.match("MESSAGE_ID", spawnFailed)
        try journal.match("INVOCATION_ID", invocationID)
        try journal.seekHead()
        while try journal.next() {
            // Written by the forked process before execve(2), as root or already as the service's account.
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

    /// The control process (ExecStartPre= …) that systemd reports as failed.
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

    /// A reader of the entries that PID 1 wrote about a run.
    private static func messages(of service: Service, _ invocationID: String) throws(SystemError) -> JournalReader {
        let journal = try JournalReader()
        try journal.match("_PID", "1")
        try journal.match("UNIT", UnitName.unit(of: service.name))
        try journal.match("INVOCATION_ID", invocationID)
        return journal
    }

    /// The number of kernel messages that are searched: one OOM kill writes some hundred.
    private static let kernelMessagesLimit = 2000

    /// The number of lines between those with the figures and with the victim: the cgroup's statistics and processes.
    private static let reportLinesLimit = 1000

    /// The figures in the report that ends with the line at which the reader is.
    private static func memoryFigures(
        before journal: borrowing JournalReader
    ) throws(SystemError) -> RunDiagnosis.MemoryFigures? {
        for _ in 0..<reportLinesLimit {
            guard try journal.previous(), let message = journal.field("MESSAGE") else { return nil }
            if let figures = RunDiagnosis.MemoryFigures(kernelMessage: message) { return figures }
            // An earlier report.
            if message.hasPrefix("oom-kill:") { return nil }
        }
        return nil
    }

    /// Whose memory ran out, by the kernel's line
    /// `oom-kill:constraint=CONSTRAINT_MEMCG,…,oom_memcg=/a.slice/b.service,task_memcg=/a.slice/b.service,…`.
    /// Only a report that was written at `since` or later counts.
    static func outOfMemory(
        _ name: ServiceName,
        since: Timestamp? = nil
    ) throws(SystemError) -> RunDiagnosis.OutOfMemory? {
        let unit = UnitName.unit(of: name)
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
            if let since, try journal.moment().microseconds < since.microseconds { return nil }
            guard members["constraint"] == "CONSTRAINT_MEMCG" else { return .machine }
            let group = components("oom_memcg")
            if group.contains(unit[...]) { return .serviceLimit(try memoryFigures(before: journal)) }
            return group.last.map { .sliceLimit(String($0)) } ?? .machine
        }
        return nil
    }
}
