internal import Services
internal import Systemd

/// What systemd wrote into the journal about the jobs of a unit: sd-messages(3).
enum JobHistory {
    enum Kind {
        case start
        case stop

        /// "A start job for a unit has finished successfully", "a stop job for a unit has finished".
        fileprivate var messageID: String {
            switch self {
            case .start: "39f53479d3a045ac8e11786248231fbf"
            case .stop: "9d1aaa27d60140bd96365438aad20286"
            }
        }
    }

    /// Whether a job of the kind was done since a moment, by the time at which systemd sent the entry: the time of the
    /// entry itself is that of its processing, and journald can be late. Only entries of PID 1 count. Throws when the
    /// journal cannot be read.
    static func isDone(_ kind: Kind, of unit: String, since moment: Timestamp) throws(SystemError) -> Bool {
        let journal = try JournalReader()
        try journal.match("_PID", "1")
        try journal.match("UNIT", unit)
        try journal.match("MESSAGE_ID", kind.messageID)
        try journal.seek(to: WallClock(microseconds: moment.microseconds))
        while try journal.next() {
            // Present in every entry that came by journald's socket: systemd.journal-fields(7).
            guard let sent = journal.field("_SOURCE_REALTIME_TIMESTAMP").flatMap({ Int64($0) }),
                sent >= moment.microseconds
            else { continue }
            if journal.field("JOB_RESULT", is: "done") ?? false { return true }
        }
        return false
    }
}
