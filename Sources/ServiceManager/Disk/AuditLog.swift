internal import JSON
internal import Services
internal import Systemd

/// A file of the audit: a ring of entries of one size, readable by root alone.
///
/// The space of the file is allocated once, so that an entry can be written on a full disk. An entry is written when
/// its request is admitted, and again with the answer; fsync(2) follows within ``syncDelay``. Entries that cannot be
/// written are kept in memory and written later.
@EventLoopActor
final class AuditLog {
    /// The size of an entry. A write of one sector is whole or missing after a power cut.
    nonisolated static let entryBytes = 512
    private let fileBytes: Int
    private let capacity: Int
    private let file: String

    /// The longest time between the write of an entry and its fsync(2), and the number of writes after which it comes
    /// sooner: fewer entries than a block can be lost before others in a power cut.
    private static let syncDelay = Duration.seconds(1)
    private static let unsyncedLimit = blockEntries / 2
    /// The number of entries that are kept in memory while they cannot be written, the newest ones.
    nonisolated static let unwrittenLimit = 1024
    /// How long an answer waits for its entry to be written.
    nonisolated static let patience = Duration.seconds(5)
    private let patience: Duration
    private static let urgentPatience = Duration.milliseconds(100)
    private static let retryDelays = Duration.seconds(1)...Duration.seconds(60)
    /// The number of entries that are read at a time.
    nonisolated static let blockEntries = 128

    private struct Unwritten {
        var entry: AuditEntry
        /// The place in the sequence of all entries; nil until the end of the ring is found.
        var sequence: Int?
        /// Counts the changes of the entry.
        var version = 0
        /// Whether the request is not answered yet.
        var isOpen = true
        /// Whether the last change is written.
        var isWritten = false
    }

    private let path: String
    private let disk: Disk
    private let messages: MessageLog
    /// The sequence number of the next entry; nil until the end of the ring is found.
    private var next: Int?
    private let finding = SerialQueue()
    /// The entries that are not answered or not written, by number.
    private var unwritten: [Int: Unwritten] = [:]
    private var lastNumber = 0
    /// The number of writes since the last fsync(2).
    private var unsyncedCount = 0
    private var sync: Timer?
    private var retry: Timer?
    private var isRetrying = false
    private var retryDelay = AuditLog.retryDelays.lowerBound
    /// The newest error of a series; nil while there is none.
    private var failure: SystemError?
    /// The number of entries that were dropped because they could not be written.
    private(set) var droppedCount = 0

    /// The ring of `fileBytes` in `file`, which is in the state directory.
    init(
        _ layout: StateLayout,
        file: String,
        fileBytes: Int,
        patience: Duration = AuditLog.patience,
        on disk: Disk = .shared,
        report: @escaping @EventLoopActor (LogMessage) -> Void
    ) throws(SystemError) {
        self.file = file
        self.fileBytes = fileBytes
        self.patience = patience
        self.disk = disk
        capacity = fileBytes / Self.entryBytes
        path = layout.stateDirectory
        messages = MessageLog(report: report)
        sync = try Timer { [weak self] in self?.synchronize() }
        retry = try Timer { [weak self] in
            self?.isRetrying = false
            self?.writeAll()
        }
    }

    /// Allocates the file, in the background.
    func prepare() {
        var changes = FileChanges()
        changes.overwrite(file, in: path, at: 0, [], fileByteCount: fileBytes)
        // A failure is reported when an entry cannot be written.
        _ = disk.begin(changes)
    }

    /// The number of entries that are not written.
    var unwrittenCount: Int { unwritten.values.count { !$0.isWritten } }

    /// Writes what is not written, for the end of the process.
    func finish() {
        var changes = FileChanges()
        addUnwritten(to: &changes)
        if unsyncedCount > 0 || !changes.isEmpty { changes.synchronizeFile(file, in: path) }
        do throws(SystemError) {
            if !changes.isEmpty { try disk.performNow(changes) }
            guard next == nil, unwrittenCount > 0 else { return }
            throw .timedOut
        } catch {
            messages.notice(.error, "\(unwrittenCount) entries of the audit are lost: \(error)")
        }
    }

    // MARK: Writing

    /// Writes an entry's present content; nil when the end of the ring is not found yet.
    private func write(_ number: Int) -> Disk.Work? {
        guard next != nil else { return nil }
        var changes = FileChanges()
        add(number, to: &changes)
        return begin(changes, [number])
    }

    private func writeAll() {
        EventLoop.start { [self] in
            await findEnd()
            guard next != nil else { return }
            var changes = FileChanges()
            let numbers = addUnwritten(to: &changes)
            guard !numbers.isEmpty else { return }
            _ = await begin(changes, numbers).wait()
        }
    }

    @discardableResult
    private func addUnwritten(to changes: inout FileChanges) -> [Int] {
        let numbers = unwritten.filter { !$0.value.isWritten }.keys.sorted()
        for number in numbers { add(number, to: &changes) }
        return numbers
    }

    /// Gives the entries without a place the next ones.
    private func place() {
        guard var next else { return }
        for number in unwritten.filter({ $0.value.sequence == nil }).keys.sorted() {
            unwritten[number]?.sequence = next
            next += 1
        }
        self.next = next
    }

    private func add(_ number: Int, to changes: inout FileChanges) {
        guard let item = unwritten[number], let sequence = item.sequence, let next else { return }
        // The place of an entry that has been waiting for its answer for a whole round belongs to a newer one.
        guard sequence + capacity > next else { return }
        let bytes = AuditCoding.encode(item.entry, sequence, byteCount: Self.entryBytes)
        let offset = sequence % capacity * Self.entryBytes
        changes.overwrite(file, in: path, at: offset, bytes, fileByteCount: fileBytes)
    }

    private func begin(_ changes: FileChanges, _ numbers: [Int]) -> Disk.Work {
        let versions = numbers.compactMap { number in unwritten[number].map { (number, $0.version) } }
        let work = disk.begin(changes)
        EventLoop.start { [self] in
            let result = await work.wait()
            done(versions, result.error)
        }
        return work
    }

    private func done(_ versions: [(number: Int, version: Int)], _ error: SystemError?) {
        if let error {
            fail("cannot write the audit, which is kept in memory meanwhile", error)
            return retryLater()
        }
        for (number, version) in versions where unwritten[number]?.version == version {
            unwritten[number]?.isWritten = true
            if unwritten[number]?.isOpen == false { unwritten[number] = nil }
        }
        if failure != nil { messages.notice(.information, "the audit is written again") }
        failure = nil
        retryDelay = Self.retryDelays.lowerBound
        if unsyncedCount == 0 { sync?.arm(after: Self.syncDelay) }
        unsyncedCount += versions.count
        if unsyncedCount >= Self.unsyncedLimit { synchronize() }
    }

    private func retryLater() {
        guard !isRetrying else { return }
        isRetrying = true
        retry?.arm(after: retryDelay)
        retryDelay = min(retryDelay * 2, Self.retryDelays.upperBound)
    }

    private func synchronize() {
        sync?.cancel()
        unsyncedCount = 0
        var changes = FileChanges()
        changes.synchronizeFile(file, in: path)
        let work = disk.begin(changes)
        EventLoop.start { [self] in
            if let error = await work.wait().error { fail("cannot write the audit to disk", error) }
        }
    }

    /// Drops the oldest entries beyond ``unwrittenLimit``.
    private func limitUnwritten() {
        guard unwritten.count > Self.unwrittenLimit, let oldest = unwritten.keys.min() else { return }
        if unwritten[oldest]?.isWritten == false { droppedCount += 1 }
        unwritten[oldest] = nil
    }

    // MARK: Reading

    /// Finds the end of the ring. Without success when the disk fails or hangs.
    private func findEnd() async {
        guard next == nil else { return }
        await finding.enter()
        defer { _ = finding.leave() }
        guard next == nil else { return }
        do throws(SystemError) {
            next = try await end()
        } catch let error where error.isNotFound {
            next = 0
        } catch {
            fail("cannot read the audit", error)
            return retryLater()
        }
        place()
    }

    /// Reports the first failure of a series.
    private func fail(_ what: String, _ error: SystemError) {
        if failure == nil { messages.notice(.error, "\(what): \(error)") }
        failure = error
    }

    /// The sequence number behind the last one. Entries are written in order: the present round is in the first blocks,
    /// and in each of them is one of its entries, whatever a power cut has lost.
    private func end() async throws(SystemError) -> Int {
        guard let first = try await lastSequence(ofBlock: 0) else { return 0 }
        let round = first / capacity
        var end = first + 1
        var unknown = 1..<capacity / Self.blockEntries
        while !unknown.isEmpty {
            let middle = unknown.lowerBound + unknown.count / 2
            if let last = try await lastSequence(ofBlock: middle), last / capacity == round {
                end = last + 1
                unknown = middle + 1..<unknown.upperBound
            } else {
                unknown = unknown.lowerBound..<middle
            }
        }
        return end
    }

    private func lastSequence(ofBlock block: Int) async throws(SystemError) -> Int? {
        let begin = block * Self.blockEntries
        return try await load(begin..<begin + Self.blockEntries).compactMap(AuditCoding.sequence).max()
    }

    /// The bytes at places of the ring.
    private func load(_ places: Range<Int>) async throws(SystemError) -> [ArraySlice<UInt8>] {
        var changes = FileChanges()
        changes.read(
            file,
            in: path,
            at: places.lowerBound * Self.entryBytes,
            byteCount: places.count * Self.entryBytes
        )
        guard let result = await disk.begin(changes).wait(atMost: patience) else { throw .timedOut }
        try result.get()
        return stride(from: 0, to: result.bytes.count, by: Self.entryBytes).map { start in
            result.bytes[start..<min(start + Self.entryBytes, result.bytes.count)]
        }
    }
}

extension AuditLog {
    func begin(_ entry: AuditEntry, isUrgent: Bool) async -> Int {
        lastNumber += 1
        let number = lastNumber
        unwritten[number] = Unwritten(entry: entry)
        limitUnwritten()
        place()
        // After a failure the retry writes it.
        guard failure == nil || next != nil else { return number }
        if next == nil, !isUrgent, !disk.isHanging { await findEnd() }
        // Not waited for: the disk makes the changes of the request after it.
        if write(number) == nil { writeAll() }
        return number
    }

    func end(_ number: Int, service: String?, status: Int, isUrgent: Bool) async {
        guard unwritten[number] != nil else { return }
        unwritten[number]?.entry.service = service
        unwritten[number]?.entry.status = status
        unwritten[number]?.version += 1
        unwritten[number]?.isWritten = false
        unwritten[number]?.isOpen = false
        guard let work = write(number), !disk.isHanging else { return }
        _ = await work.wait(atMost: isUrgent ? Self.urgentPatience : patience)
    }

    func read(_ query: AuditQuery) async throws(ControlError) -> [AuditEntry] {
        do throws(SystemError) {
            return try await found(query)
        } catch {
            throw ControlError(error)
        }
    }

    private func found(_ query: AuditQuery) async throws(SystemError) -> [AuditEntry] {
        await findEnd()
        var found: [AuditEntry] = []
        func add(_ entry: AuditEntry) {
            if found.count < query.limit, query.matches(entry) { found.append(entry) }
        }
        let inMemory = unwritten.values
        // Without a place: newer than all others.
        for item in inMemory.filter({ $0.sequence == nil }).sorted(by: { $0.entry.at > $1.entry.at }) {
            add(item.entry)
        }
        guard var end = next else { throw failure ?? .timedOut }
        let placed = Dictionary(
            inMemory.compactMap { item in item.sequence.map { ($0, item.entry) } },
            uniquingKeysWith: { first, _ in first }
        )
        let oldest = max(0, end - capacity)
        while end > oldest, found.count < query.limit {
            let begin = max(oldest, (end - 1) / Self.blockEntries * Self.blockEntries)
            let place = begin % capacity
            let stored = try await load(place..<place + (end - begin))
            for sequence in (begin..<end).reversed() {
                let index = sequence - begin
                let bytes = index < stored.count ? stored[index] : []
                let entry = AuditCoding.sequence(bytes) == sequence ? AuditCoding.decode(Array(bytes)) : nil
                if let entry = placed[sequence] ?? entry { add(entry) }
            }
            end = begin
        }
        return found
    }
}

/// An entry as a line of JSON, padded with spaces.
enum AuditCoding {
    static func encode(_ entry: AuditEntry, _ sequence: Int, byteCount: Int) -> [UInt8] {
        var path = entry.path
        var line = encode(entry, sequence, path: path)
        while line.count >= byteCount, !path.isEmpty {
            path = String(path.prefix(path.count / 2))
            line = encode(entry, sequence, path: path + "…")
        }
        return line.prefix(byteCount - 1)
            + [UInt8](repeating: UInt8(ascii: " "), count: max(0, byteCount - 1 - line.count))
            + [UInt8(ascii: "\n")]
    }

    private static func encode(_ entry: AuditEntry, _ sequence: Int, path: String) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("seq", integer: sequence)
        writer.member("at", integer: Int(entry.at.microseconds))
        if let identity = entry.identity { writer.member("identity", string: identity) }
        writer.member("role", string: entry.role)
        switch entry.peer {
        case .process(let uid, let pid):
            writer.member("uid", integer: Int(uid))
            writer.member("pid", integer: Int(pid))
        case .address(let address): writer.member("address", string: address)
        case .machine(let contextID): writer.member("cid", integer: contextID.map { Int($0) })
        }
        writer.member("request", string: entry.requestID)
        writer.member("method", string: entry.method)
        writer.member("path", string: path)
        if let service = entry.service { writer.member("service", string: service) }
        if let status = entry.status { writer.member("status", integer: status) }
        writer.endObject()
        return writer.finish()
    }

    /// The sequence number of an entry; nil for what is none.
    static func sequence(_ bytes: ArraySlice<UInt8>) -> Int? {
        let prefix = Array(#"{"seq":"#.utf8)
        guard bytes.starts(with: prefix) else { return nil }
        let digits = bytes.dropFirst(prefix.count).prefix { (0x30...0x39).contains($0) }
        return digits.count > 18 ? nil : Int(String(decoding: digits, as: UTF8.self))
    }

    /// Nil for what is not an entry.
    static func decode(_ bytes: [UInt8]) -> AuditEntry? {
        do throws(RecordProblem) {
            let members = try JSONMembers(parsing: bytes)
            let peer: AuditEntry.Peer =
                if let uid = try members.optionalInteger("uid") {
                    .process(uid: UInt32(clamping: uid), pid: Int32(clamping: try members.integer("pid")))
                } else if let address = try members.optionalString("address") {
                    .address(address)
                } else {
                    .machine(try members.optionalInteger("cid").map { UInt32(clamping: $0) })
                }
            return AuditEntry(
                at: Timestamp(microseconds: Int64(try members.integer("at"))),
                identity: try members.optionalString("identity"),
                role: try members.string("role"),
                peer: peer,
                requestID: try members.string("request"),
                method: try members.string("method"),
                path: try members.string("path"),
                service: try members.optionalString("service"),
                status: try members.optionalInteger("status")
            )
        } catch {
            return nil
        }
    }
}
