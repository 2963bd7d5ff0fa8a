internal import CSystemd
internal import Glibc

/// Reads the journal of this machine: sd-journal(3).
///
/// A reader uses the files that exist when it is opened; `JournalWatch` reports new ones.
@safe public struct JournalReader: ~Copyable {
    let journal: OpaquePointer

    /// Opens the journal files of this machine. At most `fieldBytesLimit` bytes of a field are read. Throws when they
    /// cannot be opened.
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

    /// Skips entries that do not have this field and value; several values of one field are alternatives.
    public func match(_ field: String, _ value: String) throws(SystemError) {
        let text = "\(field)=\(value)"
        try check("sd_journal_add_match", unsafe sd_journal_add_match(journal, text, 0))
    }

    /// Matches added after this call are an alternative to those before: sd_journal_add_disjunction(3).
    public func orMatch() throws(SystemError) {
        try check("sd_journal_add_disjunction", unsafe sd_journal_add_disjunction(journal))
    }

    /// Matches added after this call are required in addition to those before: sd_journal_add_conjunction(3).
    public func andMatch() throws(SystemError) {
        try check("sd_journal_add_conjunction", unsafe sd_journal_add_conjunction(journal))
    }

    /// Removes all matches. The position is kept, but the current entry cannot be read any more: call ``next()`` or
    /// ``previous()``.
    public func matchEverything() {
        unsafe sd_journal_flush_matches(journal)
    }

    // MARK: Where it stands

    /// Seeks before the oldest entry.
    public func seekHead() throws(SystemError) {
        try check("sd_journal_seek_head", unsafe sd_journal_seek_head(journal))
    }

    /// Seeks after the newest entry, to read backwards with ``previous()``. Not for waiting: entries that are written
    /// before the first call of ``next()`` would be skipped.
    public func seekTail() throws(SystemError) {
        try check("sd_journal_seek_tail", unsafe sd_journal_seek_tail(journal))
    }

    /// Seeks to the newest entry: ``next()`` returns the entries that are written from now on. Not by time:
    /// journald stamps an entry when it begins to process it, which can be before this call, and the clock can be set
    /// back.
    public func seekNewest() throws(SystemError) {
        try seekTail()
        if try !previous() { try seekHead() }
    }

    /// Seeks to a time: ``next()`` returns the first entry at or after it, ``previous()`` the last one before it.
    public func seek(to moment: WallClock) throws(SystemError) {
        let microseconds = UInt64(max(0, moment.microseconds))
        try check("sd_journal_seek_realtime_usec", unsafe sd_journal_seek_realtime_usec(journal, microseconds))
    }

    /// Seeks after the entry of a cursor, or to its former position if it is removed: ``next()`` returns the following
    /// entry. False when the text is not a valid cursor.
    public func seek(behind cursor: String) throws(SystemError) -> Bool {
        let result = unsafe sd_journal_seek_cursor(journal, cursor)
        if result == -EINVAL { return false }
        try check("sd_journal_seek_cursor", result)
        guard try next() else { return true }
        // The entry is removed: the current one follows it and has to be returned by ``next()``.
        if try !isAt(cursor) { try check("sd_journal_seek_cursor", unsafe sd_journal_seek_cursor(journal, cursor)) }
        return true
    }

    /// Seeks before the entry of a cursor, or to its former position if it is removed: ``previous()`` returns the entry
    /// before it. Precondition: the cursor is valid.
    public func seek(before cursor: String) throws(SystemError) {
        try check("sd_journal_seek_cursor", unsafe sd_journal_seek_cursor(journal, cursor))
        guard try previous() else { return }
        // The entry does not match or is removed: the current one precedes it and has to be returned by ``previous()``.
        if try !isAt(cursor) { try check("sd_journal_seek_cursor", unsafe sd_journal_seek_cursor(journal, cursor)) }
    }

    /// Moves to the next entry; false when there is none.
    public func next() throws(SystemError) -> Bool {
        try check("sd_journal_next", unsafe sd_journal_next(journal)) > 0
    }

    /// Moves to the previous entry; false when there is none.
    public func previous() throws(SystemError) -> Bool {
        try check("sd_journal_previous", unsafe sd_journal_previous(journal)) > 0
    }

    /// The boot `count` boots before another one; nil when the journal does not reach back that far.
    public static func bootID(before bootID: String, back count: Int) throws(SystemError) -> String? {
        let journal = try JournalReader()
        var bootID = bootID
        for _ in 0..<count {
            journal.matchEverything()
            try journal.match("_BOOT_ID", bootID)
            try journal.seekHead()
            guard try journal.next() else { return nil }
            journal.matchEverything()
            // When files overlap, entries of the boot itself can come first.
            while journal.field("_BOOT_ID", is: bootID) ?? true {
                guard try journal.previous() else { return nil }
            }
            guard let earlier = journal.field("_BOOT_ID") else { return nil }
            bootID = earlier
        }
        return bootID
    }

    // MARK: The entry

    /// The time of the entry.
    public func moment() throws(SystemError) -> WallClock {
        var microseconds: UInt64 = 0
        try check("sd_journal_get_realtime_usec", unsafe sd_journal_get_realtime_usec(journal, &microseconds))
        return WallClock(microseconds: Int64(microseconds))
    }

    /// The cursor of the entry, for `seek(behind:)` of any reader.
    public func cursor() throws(SystemError) -> String {
        var text: UnsafeMutablePointer<CChar>?
        try check("sd_journal_get_cursor", unsafe sd_journal_get_cursor(journal, &text))
        defer { unsafe free(text) }
        return unsafe String(cString: text!)
    }

    /// The cursor of the newest entry, after seeking to it; nil when there is none.
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
        // ENOENT: the field is absent. An entry that cannot be read has no fields.
        guard unsafe sd_journal_get_data(journal, name, &data, &length) >= 0 else { return nil }
        return unsafe body(UnsafeRawBufferPointer(start: data, count: length).dropFirst(name.utf8.count + 1))
    }
}
