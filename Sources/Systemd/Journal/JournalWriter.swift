internal import CSystemd
internal import Glibc

/// Writes structured entries to the journal: sd_journal_sendv(3).
public enum JournalWriter {
    /// Severity, with the numbers of syslog(3).
    public enum Priority: Int, CaseIterable, Sendable {
        case error = 3
        case warning = 4
        case notice = 5
        case info = 6
        case debug = 7

        /// The priority of that name; nil where there is none.
        public init?(name: String) {
            guard let priority = Self.allCases.first(where: { "\($0)" == name }) else { return nil }
            self = priority
        }
    }

    /// Sends one entry. Names are upper-case journal fields; values may hold any text.
    public static func send(_ priority: Priority, _ message: String, _ fields: [(name: String, value: String)]) {
        var storage: [UInt8] = []
        var ends: [Int] = []
        for (name, value) in [("MESSAGE", message), ("PRIORITY", String(priority.rawValue))] + fields {
            storage.append(contentsOf: name.utf8)
            storage.append(UInt8(ascii: "="))
            storage.append(contentsOf: value.utf8)
            ends.append(storage.count)
        }
        unsafe storage.withUnsafeMutableBytes { bytes in
            var start = 0
            let vectors = unsafe ends.map { end in
                defer { start = end }
                return unsafe iovec(iov_base: bytes.baseAddress! + start, iov_len: end - start)
            }
            // A journal that does not take the entry leaves nowhere to report that to.
            _ = unsafe sd_journal_sendv(vectors, CInt(vectors.count))
        }
    }
}
