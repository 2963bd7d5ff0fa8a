internal import CSystemd
internal import Glibc

/// Reads the journal of this machine: sd-journal(3).
@safe public struct JournalReader: ~Copyable {
    private let journal: OpaquePointer

    /// The most that is read of one field.
    private static let fieldBytesLimit = 64 * 1024

    /// Opens the journal files of this machine.
    public init() throws(SystemError) {
        var opened: OpaquePointer?
        try check("sd_journal_open", unsafe sd_journal_open(&opened, CInt(SD_JOURNAL_LOCAL_ONLY)))
        unsafe journal = opened!
        // Fails only for a journal of another process.
        _ = unsafe sd_journal_set_data_threshold(journal, Self.fieldBytesLimit)
    }

    deinit {
        unsafe sd_journal_close(journal)
    }

    /// Passes over entries that do not have this field and value; several of one field are alternatives.
    public func match(_ field: String, _ value: String) throws(SystemError) {
        let text = "\(field)=\(value)"
        try check("sd_journal_add_match", unsafe sd_journal_add_match(journal, text, 0))
    }

    /// Goes to the newest entry and `count` entries back, so that as many are to be read with ``next()``.
    public func seekTail(back count: Int) throws(SystemError) {
        try check("sd_journal_seek_tail", unsafe sd_journal_seek_tail(journal))
        // One more than wanted, because next() goes forward before it reads; fewer when there are not as many.
        let skipped = try check("sd_journal_previous_skip", unsafe sd_journal_previous_skip(journal, UInt64(count) + 1))
        if skipped <= count { try check("sd_journal_seek_head", unsafe sd_journal_seek_head(journal)) }
    }

    /// Goes to the first entry at or after a moment.
    public func seek(to moment: WallClock) throws(SystemError) {
        let microseconds = UInt64(max(0, moment.microseconds))
        try check("sd_journal_seek_realtime_usec", unsafe sd_journal_seek_realtime_usec(journal, microseconds))
    }

    /// Goes on to the next entry; false when there is none.
    public func next() throws(SystemError) -> Bool {
        try check("sd_journal_next", unsafe sd_journal_next(journal)) > 0
    }

    /// When the entry was written.
    public func moment() throws(SystemError) -> WallClock {
        var microseconds: UInt64 = 0
        try check("sd_journal_get_realtime_usec", unsafe sd_journal_get_realtime_usec(journal, &microseconds))
        return WallClock(microseconds: Int64(microseconds))
    }

    /// A field of the entry as text, repaired where it is not UTF-8; nil when the entry does not have it.
    public func field(_ name: String) -> String? {
        var data: UnsafeRawPointer?
        var length = 0
        // ENOENT for a field that is absent; an entry that cannot be read has no fields to tell of.
        guard unsafe sd_journal_get_data(journal, name, &data, &length) >= 0 else { return nil }
        let bytes = unsafe UnsafeRawBufferPointer(start: data, count: length)
        return unsafe String(decoding: bytes.dropFirst(name.utf8.count + 1), as: UTF8.self)
    }
}
