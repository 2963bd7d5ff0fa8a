internal import Services
internal import Systemd

/// What systemd wrote into the journal about the end of a unit's runs.
struct RunHistory {
    /// The newest end, if one was written down.
    private(set) var end: ServiceRun.End?

    /// "A unit's process has exited": sd-messages(3), with EXIT_CODE and EXIT_STATUS. Not written for an exit that
    /// counts as success.
    private static let processExited = "98e322203f7a4ed290d09fe03c09fe15"
    /// "A unit has ended successfully".
    private static let unitSucceeded = "7ad2d189f7e94e70a38c781354912448"
    /// "A unit is being stopped", by a job of somebody's.
    private static let unitStopping = "de5b426a63be47a7b6ac3eaac82e2f6f"

    /// Reads what was written since a run began. Only PID 1 itself is believed.
    init(of unit: String, since start: Timestamp) throws(SystemError) {
        let journal = try JournalReader()
        try journal.match("_PID", "1")
        try journal.match("UNIT", unit)
        for message in [Self.processExited, Self.unitSucceeded, Self.unitStopping] {
            try journal.match("MESSAGE_ID", message)
        }
        try journal.seek(to: WallClock(microseconds: start.microseconds))
        var wasStopped = false
        while try journal.next() {
            let moment = Timestamp(microseconds: try journal.moment().microseconds)
            switch journal.field("MESSAGE_ID") {
            case Self.unitStopping: wasStopped = true
            case Self.processExited:
                guard let ending = Self.ending(journal.field("EXIT_CODE"), journal.field("EXIT_STATUS")) else {
                    continue
                }
                end = ServiceRun.End(at: moment, ending: ending, result: "exit-code")
                if case .killed = ending { end?.result = "signal" }
                wasStopped = false
            case Self.unitSucceeded:
                // Of a process that was told to stop nobody wrote down whether it exited or died of the signal.
                end = ServiceRun.End(at: moment, ending: wasStopped ? nil : .exited(0), result: "success")
                wasStopped = false
            default: break
            }
        }
    }

    private static func ending(_ code: String?, _ status: String?) -> RunEnding? {
        guard let number = status.flatMap({ Int($0) }) else { return nil }
        switch code {
        case "exited": return .exited(number)
        case "killed", "dumped": return .killed(signal: number)
        default: return nil
        }
    }
}
