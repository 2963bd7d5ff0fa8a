internal import CSystemd
internal import Glibc

/// Reads the journal of this machine: sd-journal(3).
///
/// A reader knows the files that are there when it is opened; `JournalWatch` tells when there are others.
@safe public struct JournalReader: ~Copyable {
    let journal: OpaquePointer

    /// Opens the journal files of this machine. No more than `fieldBytesLimit` bytes are read of one field.
    public init(fieldBytesLimit: Int = 64 * 1024) throws(SystemError) {
        var opened: OpaquePointer?
        try check("sd_journal_open", unsafe sd_journal_open(&opened, CInt(SD_JOURNAL_LOCAL_ONLY)))
        unsafe journal = opened!
        // Fails only for a journal of another process.
        _ = unsafe sd_journal_set_data_threshold(journal, fieldBytesLimit)
    }

    deinit {
        unsafe sd_journal_close(journal)
    }

    // MARK: What is read

    /// Passes over entries that do not have this field and value; several of one field are alternatives.
    public func match(_ field: String, _ value: String) throws(SystemError) {
        let text = "\(field)=\(value)"
        try check("sd_journal_add_match", unsafe sd_journal_add_match(journal, text, 0))
    }

    /// What is matched from here on is an alternative to what was matched before.
    public func orMatch() throws(SystemError) {
        try check("sd_journal_add_disjunction", unsafe sd_journal_add_disjunction(journal))
    }

    /// What is matched from here on has to be so as well.
    public func andMatch() throws(SystemError) {
        try check("sd_journal_add_conjunction", unsafe sd_journal_add_conjunction(journal))
    }

    /// Forgets what was matched. The place stays, and the entry that was there cannot be read any more:
    /// ``next()`` and ``previous()`` go on from it.
    public func matchEverything() {
        unsafe sd_journal_flush_matches(journal)
    }

    // MARK: Where it stands

    /// Goes before the oldest entry.
    public func seekHead() throws(SystemError) {
        try check("sd_journal_seek_head", unsafe sd_journal_seek_head(journal))
    }

    /// Goes behind the newest entry, to read back with ``previous()``. Not for waiting: entries that come before the
    /// first call of ``next()`` would be passed over.
    public func seekTail() throws(SystemError) {
        try check("sd_journal_seek_tail", unsafe sd_journal_seek_tail(journal))
    }

    /// Goes to where ``next()`` gives the first entry at or after a moment and ``previous()`` the last one before.
    public func seek(to moment: WallClock) throws(SystemError) {
        let microseconds = UInt64(max(0, moment.microseconds))
        try check("sd_journal_seek_realtime_usec", unsafe sd_journal_seek_realtime_usec(journal, microseconds))
    }

    /// Goes behind the entry of a cursor, or to where it was when it is no longer there: ``next()`` gives what follows.
    /// False when the text is no cursor.
    public func seek(behind cursor: String) throws(SystemError) -> Bool {
        let result = unsafe sd_journal_seek_cursor(journal, cursor)
        if result == -EINVAL { return false }
        try check("sd_journal_seek_cursor", result)
        guard try next() else { return true }
        // Another entry follows the one that is gone, and is to be read.
        if try !isAt(cursor) { try check("sd_journal_seek_cursor", unsafe sd_journal_seek_cursor(journal, cursor)) }
        return true
    }

    /// Goes before the entry of a cursor, or to where it was when it is no longer there: ``previous()`` gives what is
    /// before it. The cursor has to be one.
    public func seek(before cursor: String) throws(SystemError) {
        try check("sd_journal_seek_cursor", unsafe sd_journal_seek_cursor(journal, cursor))
        guard try previous() else { return }
        // Another entry precedes the one that does not match or is gone, and is to be read.
        if try !isAt(cursor) { try check("sd_journal_seek_cursor", unsafe sd_journal_seek_cursor(journal, cursor)) }
    }

    /// Goes on to the next entry; false when there is none.
    public func next() throws(SystemError) -> Bool {
        try check("sd_journal_next", unsafe sd_journal_next(journal)) > 0
    }

    /// Goes back to the entry before; false when there is none.
    public func previous() throws(SystemError) -> Bool {
        try check("sd_journal_previous", unsafe sd_journal_previous(journal)) > 0
    }

    /// The boot that was `count` before another one; nil when the journal does not reach back so far.
    public static func bootID(before bootID: String, back count: Int) throws(SystemError) -> String? {
        let journal = try JournalReader()
        var bootID = bootID
        for _ in 0..<count {
            journal.matchEverything()
            try journal.match("_BOOT_ID", bootID)
            try journal.seekHead()
            guard try journal.next() else { return nil }
            journal.matchEverything()
            // Where files overlap, entries of the boot itself can come first.
            while journal.field("_BOOT_ID", is: bootID) ?? true {
                guard try journal.previous() else { return nil }
            }
            guard let earlier = journal.field("_BOOT_ID") else { return nil }
            bootID = earlier
        }
        return bootID
    }

    // MARK: The entry

    /// When the entry was written.
    public func moment() throws(SystemError) -> WallClock {
        var microseconds: UInt64 = 0
        try check("sd_journal_get_realtime_usec", unsafe sd_journal_get_realtime_usec(journal, &microseconds))
        return WallClock(microseconds: Int64(microseconds))
    }

    /// The place of the entry, for `seek(behind:)` of any reader.
    public func cursor() throws(SystemError) -> String {
        var text: UnsafeMutablePointer<CChar>?
        try check("sd_journal_get_cursor", unsafe sd_journal_get_cursor(journal, &text))
        defer { unsafe free(text) }
        return unsafe String(cString: text!)
    }

    /// The place of the newest entry, which this goes to; nil when there is none.
    public func newest() throws(SystemError) -> String? {
        try seekTail()
        return try previous() ? try cursor() : nil
    }

    /// Whether the entry is the one of a cursor.
    public func isAt(_ cursor: String) throws(SystemError) -> Bool {
        try check("sd_journal_test_cursor", unsafe sd_journal_test_cursor(journal, cursor)) > 0
    }

    /// A field of the entry as text, repaired where it is not UTF-8; nil when the entry does not have it.
    public func field(_ name: String) -> String? {
        unsafe withField(name) { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// Whether a field of the entry has this value.
    public func field(_ name: String, is value: String) -> Bool? {
        unsafe withField(name) { unsafe $0.elementsEqual(value.utf8) }
    }

    private func withField<Result>(_ name: String, _ body: (Slice<UnsafeRawBufferPointer>) -> Result) -> Result? {
        var data: UnsafeRawPointer?
        var length = 0
        // ENOENT for a field that is absent; an entry that cannot be read has no fields to tell of.
        guard unsafe sd_journal_get_data(journal, name, &data, &length) >= 0 else { return nil }
        return unsafe body(UnsafeRawBufferPointer(start: data, count: length).dropFirst(name.utf8.count + 1))
    }
}
