internal import Services
internal import Systemd

/// The journal entries of systemd about the ends of a unit's runs.
struct RunHistory {
    /// The newest end, if there is an entry.
    private(set) var end: ServiceRun.End?
    /// The runs, the oldest first: the newest ones, as many as are kept of a service.
    private(set) var runs: [Run] = []

    /// What the entries tell of one run.
    struct Run {
        let invocationID: String
        let bootID: String?
        var startedAt: Timestamp?
        var endedAt: Timestamp?
        var ending: RunEnding?
        var result: String?
        var wasStopped = false
        /// False when a command before the main process has failed.
        var hasMainProcess = true
    }

    /// "A unit's process has exited": sd-messages(3), with COMMAND, EXIT_CODE and EXIT_STATUS. Not written for an end
    /// that counts as success.
    static let processExited = "98e322203f7a4ed290d09fe03c09fe15"
    /// "A unit has ended successfully".
    private static let unitSucceeded = "7ad2d189f7e94e70a38c781354912448"
    /// "A unit is being stopped", with JOB_TYPE.
    private static let unitStopping = "de5b426a63be47a7b6ac3eaac82e2f6f"
    /// "A unit is being started".
    private static let unitStarting = "7d4958e842da4a758f6c1cdc7b36dcc5"
    /// "A unit has entered the failed state", with UNIT_RESULT.
    private static let unitFailed = "d9b373ed55a64feb8242e02dbe79a49c"

    /// Reads the entries from the beginning of a run to the beginning of the current one, by invocation id and in
    /// journal order, independent of the clock. Only entries of PID 1 count. Throws when the journal cannot be read.
    init(of unit: String, since invocationID: String, before current: String?) throws(SystemError) {
        let journal = try JournalReader()
        try journal.match("_PID", "1")
        try journal.match("UNIT", unit)
        try journal.match("INVOCATION_ID", Self.journalID(invocationID))
        try journal.seekHead()
        // The journal has no entry of that run any more: the entries of later runs may be incomplete too.
        guard try journal.next() else { return }
        let first = try journal.cursor()
        runs = [Run(invocationID: invocationID, bootID: Self.identifier(journal.field("_BOOT_ID")))]
        journal.matchEverything()
        try journal.match("_PID", "1")
        try journal.match("UNIT", unit)
        for message in [
            Self.processExited, Self.unitSucceeded, Self.unitStopping, Self.unitStarting, Self.unitFailed,
        ] {
            try journal.match("MESSAGE_ID", message)
        }
        guard try journal.seek(behind: first) else { return }
        let current = current.map(Self.journalID)
        var wasStopped = false
        while try journal.next() {
            if let current, journal.field("INVOCATION_ID", is: current) ?? false { continue }
            let moment = Timestamp(microseconds: try journal.moment().microseconds)
            note(journal, moment)
            switch journal.field("MESSAGE_ID") {
            case Self.unitStopping: wasStopped = true
            case Self.processExited:
                guard journal.field("COMMAND", is: "ExecStart") ?? true,
                    let ending = Self.ending(journal.field("EXIT_CODE"), journal.field("EXIT_STATUS"))
                else { continue }
                end = ServiceRun.End(at: moment, ending: ending, result: "exit-code")
                if case .killed = ending { end?.result = "signal" }
                end?.wasStopped = wasStopped
                wasStopped = false
            case Self.unitSucceeded:
                // Exit code 0, or SIGHUP, SIGINT, SIGTERM or SIGPIPE: the entry does not tell which.
                end = ServiceRun.End(at: moment, ending: nil, result: "success")
                end?.wasStopped = wasStopped
                wasStopped = false
            default: break
            }
        }
    }

    /// Applies an entry to the run that it is about.
    private mutating func note(_ journal: borrowing JournalReader, _ moment: Timestamp) {
        guard let id = Self.identifier(journal.field("INVOCATION_ID")) else { return }
        if runs.last?.invocationID != id {
            runs.append(Run(invocationID: id, bootID: Self.identifier(journal.field("_BOOT_ID"))))
            if runs.count > EndedRun.countLimit { runs.removeFirst() }
        }
        let last = runs.count - 1
        switch journal.field("MESSAGE_ID") {
        case Self.unitStarting: runs[last].startedAt = moment
        case Self.unitStopping: runs[last].wasStopped = true
        case Self.unitSucceeded:
            runs[last].endedAt = runs[last].endedAt ?? moment
            runs[last].result = "success"
        case Self.unitFailed:
            runs[last].endedAt = runs[last].endedAt ?? moment
            runs[last].result = journal.field("UNIT_RESULT")
        case Self.processExited where journal.field("COMMAND", is: "ExecStart") ?? true:
            runs[last].endedAt = moment
            runs[last].ending = Self.ending(journal.field("EXIT_CODE"), journal.field("EXIT_STATUS"))
        case Self.processExited where journal.field("COMMAND", is: "ExecStartPre") ?? false:
            runs[last].hasMainProcess = false
        default: break
        }
    }

    /// An id as systemd's properties have it: with hyphens.
    private static func identifier(_ text: String?) -> String? { text.flatMap { Identifier($0)?.description } }

    private static func journalID(_ id: String) -> String { id.filter { $0 != "-" } }

    static func ending(_ code: String?, _ status: String?) -> RunEnding? {
        guard let number = status.flatMap({ Int($0) }) else { return nil }
        switch code {
        case "exited": return .exited(number)
        case "killed", "dumped": return .killed(signal: number)
        default: return nil
        }
    }
}
