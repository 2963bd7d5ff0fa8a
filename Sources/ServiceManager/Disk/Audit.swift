public import Services
public import Systemd

/// The audit: a ring for administrators, and one for accounts, which so cannot overwrite what administrators have done.
@EventLoopActor
public final class Audit {
    private let administrators: AuditLog
    private let accounts: AuditLog
    private var logs: [AuditLog] { [administrators, accounts] }

    /// The sizes of the files.
    public nonisolated static let fileBytes = 8 * 1024 * 1024
    public nonisolated static let accountsFileBytes = 2 * 1024 * 1024
    /// The role of an account in an entry.
    private nonisolated static let accountRole = "account"

    /// Throws when an event source cannot be made.
    public convenience init(
        _ layout: StateLayout,
        report: @escaping @EventLoopActor (LogMessage) -> Void
    ) throws(SystemError) {
        try self.init(layout, patience: AuditLog.patience, on: .shared, report: report)
    }

    init(
        _ layout: StateLayout,
        patience: Duration,
        on disk: Disk,
        report: @escaping @EventLoopActor (LogMessage) -> Void
    ) throws(SystemError) {
        func log(_ file: String, _ bytes: Int) throws(SystemError) -> AuditLog {
            try AuditLog(layout, file: file, fileBytes: bytes, patience: patience, on: disk, report: report)
        }
        administrators = try log("audit", Self.fileBytes)
        accounts = try log("audit-accounts", Self.accountsFileBytes)
    }

    /// Allocates the file of administrators, in the background. That of accounts is made with its first entry.
    public func prepare() { administrators.prepare() }

    /// The number of entries that are not written.
    public var unwrittenCount: Int { logs.reduce(0) { $0 + $1.unwrittenCount } }

    /// The number of entries that were dropped because they could not be written.
    public var droppedCount: Int { logs.reduce(0) { $0 + $1.droppedCount } }

    /// Writes what is not written, for the end of the process.
    public func finish() {
        for log in logs { log.finish() }
    }
}

extension Audit {
    public func begin(_ entry: AuditEntry, isUrgent: Bool) async -> Int {
        // The last bit of the number tells the ring.
        entry.role == Self.accountRole
            ? await accounts.begin(entry, isUrgent: isUrgent) << 1 | 1
            : await administrators.begin(entry, isUrgent: isUrgent) << 1
    }

    public func end(_ number: Int, service: String?, status: Int, isUrgent: Bool) async {
        let log = number & 1 == 1 ? accounts : administrators
        await log.end(number >> 1, service: service, status: status, isUrgent: isUrgent)
    }

    public func read(_ query: AuditQuery) async throws(ControlError) -> [AuditEntry] {
        // Merged by time, each in its own order: the clock may have been set back.
        var own = try await administrators.read(query)[...]
        var others = try await accounts.read(query)[...]
        var merged: [AuditEntry] = []
        while merged.count < query.limit {
            guard let next = own.first, let other = others.first else {
                return merged + (own + others).prefix(query.limit - merged.count)
            }
            merged.append(next.at >= other.at ? own.removeFirst() : others.removeFirst())
        }
        return merged
    }
}

extension Audit: AuditStore {}
