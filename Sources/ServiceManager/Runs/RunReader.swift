public import Services
internal import Systemd

/// Reads of the records of runs.
extension ServiceManager {
    public func runs(of reference: String) async throws(ControlError) -> [EndedRun] {
        try await runs(of: reference, for: nil)
    }

    public func run(_ number: Int, of reference: String) async throws(ControlError) -> RunDetails {
        try await run(number, of: reference, for: nil)
    }

    func runs(of reference: String, for account: Account?) async throws(ControlError) -> [EndedRun] {
        let id = try find(reference, for: account).record.id
        let all = try await runs.list(of: id)
        _ = try find(reference, id: id, for: account)
        return all.reversed()
    }

    func run(_ number: Int, of reference: String, for account: Account?) async throws(ControlError) -> RunDetails {
        let id = try find(reference, for: account).record.id
        let all = try await runs.list(of: id)
        guard let index = all.firstIndex(where: { $0.number == number }) else { throw .runNotFound }
        let run = all[index]
        var details = RunDetails(run: run)
        let former = index > 0 ? all[index - 1] : nil
        if let former {
            details.changes = RunChanges(from: former, to: run)
            if let since = former.startedAt, let until = run.startedAt {
                details.changes?.packages = PackageLog.names(since, until)
            }
        }
        let service = try find(reference, id: id, for: account)
        let next = all[index...].dropFirst().first.map { $0.startedAt ?? $0.endedAt }
        let present = service.record.run
        let begun = present.invocationID != run.invocationID && present.hasMainProcess ? present.startedAt : nil
        details.log = try await logLines(of: run, id, former?.endedAt, next ?? begun, present.processes)
        details.coreDump = coreDump(of: run, service.record.spec.name)
        _ = try find(reference, id: id, for: account)
        return details
    }

    /// The service again, after a wait: it may have been given to another account, or another one may have its name.
    private func find(
        _ reference: String,
        id: String,
        for account: Account?
    ) throws(ControlError) -> ManagedService {
        let service = try find(reference, for: account)
        guard service.record.id == id else { throw .serviceNotFound }
        return service
    }

    /// The last lines of a run, which were written between two moments.
    private func logLines(
        of run: EndedRun,
        _ id: String,
        _ begin: Timestamp?,
        _ end: Timestamp?,
        _ processes: [ServiceRun.Process]
    ) async throws(ControlError) -> [String] {
        var query = LogQuery()
        query.tail = RunDetails.logLinesLimit
        query.since = begin
        query.until = end
        if let invocationID = run.invocationID?.filter({ $0 != "-" }) {
            let own = processes.last { $0.startedAt == run.startedAt }?.pid
            let others = Set(processes.map(\.pid)).subtracting([own].compactMap { $0 })
            query.run = LogQuery.Run(invocationID: invocationID, otherProcesses: others)
        }
        var lines: [String] = []
        let log = try await logs.read(id, query, as: nil)
        while case .entries(let entries) = try await log.next() { lines += entries.map(\.line) }
        return lines
    }

    /// The report of systemd-coredump(8) about a process of a run.
    private func coreDump(of run: EndedRun, _ name: ServiceName) -> String? {
        do throws(SystemError) {
            return try CoreDumps.report(of: UnitName.unit(of: name), run)
        } catch {
            messages.notice(.warning, "cannot read in the journal whether there is a core dump: \(error)", name)
            return nil
        }
    }
}

/// What systemd-coredump(8) writes into the journal.
private enum CoreDumps {
    /// "Process dumped core": sd-messages(3).
    private static let dumped = "fc2e22bc6ee647b6b90729ab34a250b1"
    /// The unit that writes it. Every account can write entries that look so, but not from this unit.
    private static let unitPrefix = "systemd-coredump@"
    /// The length to which a report is cut.
    private static let reportBytesLimit = 16 * 1024

    static func report(of unit: String, _ run: EndedRun) throws(SystemError) -> String? {
        guard let begin = run.startedAt?.microseconds, let end = run.endedAt?.microseconds else { return nil }
        let journal = try JournalReader()
        try journal.match("MESSAGE_ID", dumped)
        try journal.match("COREDUMP_UNIT", unit)
        try journal.seekTail()
        while try journal.previous() {
            // The kernel's time of the dump. The entry is written when the core is.
            guard journal.field("_SYSTEMD_UNIT")?.hasPrefix(unitPrefix) ?? false,
                let moment = journal.field("COREDUMP_TIMESTAMP").flatMap({ Int64($0) }),
                moment <= end, let message = journal.field("MESSAGE")
            else { continue }
            // Whole seconds.
            guard moment + 1_000_000 > begin else { return nil }
            return message.utf8.count <= reportBytesLimit ? message : "\(message.prefix(reportBytesLimit))…"
        }
        return nil
    }
}

/// The log of dpkg(1).
private enum PackageLog {
    private static let directory = "/var/log"
    private static let file = "dpkg.log"
    /// The number of bytes at its end that are read, and of packages that are named.
    private static let bytesLimit = 512 * 1024
    private static let namesLimit = 50
    private static let actions: Set<Substring> = ["install", "upgrade", "remove", "purge"]

    /// The packages that were installed, upgraded or removed between two moments; none without the log.
    static func names(_ since: Timestamp, _ until: Timestamp) -> [String] {
        guard let bytes = try? Directory(directory).readEnd(of: file, byteCount: bytesLimit) else { return [] }
        var names: [String] = []
        // 2026-11-30 02:03:04 upgrade libc6:amd64 2.36-9 2.36-10
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n").reversed() {
            let words = line.split(separator: " ")
            guard words.count >= 4, actions.contains(words[2]),
                let moment = LocalTime.microseconds(date: words[0], time: words[1])
            else { continue }
            // The log has whole seconds.
            if moment + 1_000_000 <= since.microseconds { break }
            guard moment <= until.microseconds else { continue }
            let name = String(words[3].prefix { $0 != ":" })
            if !names.contains(name), names.count < namesLimit { names.append(name) }
        }
        return names.sorted()
    }
}
