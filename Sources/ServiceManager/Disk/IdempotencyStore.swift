internal import JSON
public import Services
public import Systemd

/// The answers to requests with an `Idempotency-Key`, on disk: `answers/HASH.json`, readable by root alone.
@EventLoopActor
public final class IdempotencyStore {
    private struct Entry {
        let file: String
        let keptAt: Timestamp
        /// The service that the answer is about.
        let service: String?
        /// The uid of the account whose key it is; nil for the key of an administrator.
        let account: UInt32?

        init(_ file: String, _ kept: Kept) {
            self.file = file
            keptAt = kept.keptAt
            service = kept.answer?.service
            account = kept.account
        }
    }

    private let path: String
    /// Ordered by the time of writing, oldest first.
    private var entries: [Entry] = []
    private let queues = KeyedSerialQueue<String>()
    /// Whether there is a service of a name.
    private let exists: @EventLoopActor (String) -> Bool

    /// `exists` tells whether there is a service of a name: answers about others are kept without the values of
    /// environment variables.
    public init(_ layout: StateLayout, exists: @escaping @EventLoopActor (String) -> Bool) {
        path = layout.answerDirectory
        self.exists = exists
    }

    /// Creates the directory, indexes the files in it, removes those older than ``KeptAnswer/lifetimeSeconds``, and
    /// hides values that an interrupted deletion left. Throws when the directory cannot be created or read.
    public func prepare() throws(SystemError) {
        let directory = try Directory(path, creatingWithMode: 0o700)
        for file in try directory.names() {
            let bytes = file.hasPrefix(".") ? nil : try directory.read(file, limitBytes: Self.fileBytesLimit)
            if let bytes, let kept = try? Kept(bytes) {
                entries.append(Entry(file, kept))
            } else {
                try directory.remove(file)
            }
        }
        entries.sort { $0.keptAt < $1.keptAt }
        for account in Set(entries.map(\.account)) {
            for entry in takeOld(of: account) { try directory.remove(entry.file) }
        }
        for service in Set(entries.compactMap(\.service)) where !exists(service) { hideValues(of: service) }
    }

    /// Hides the values of environment variables in the answers about a service that was deleted. What cannot be
    /// written is hidden at the next start of the agent.
    public func hideValues(of service: String) {
        var changes = FileChanges()
        for entry in entries where entry.service == service {
            guard let bytes = try? Directory(path).read(entry.file, limitBytes: Self.fileBytesLimit),
                let kept = try? Kept(bytes), let hidden = kept.hidingValues
            else { continue }
            changes.write(entry.file, in: path, hidden.encoded(), mode: 0o600)
        }
        guard !changes.isEmpty else { return }
        changes.synchronize()
        _ = Disk.shared.begin(changes)
    }

    /// The largest file that is read: an answer holds one service object, which is not longer than the service's
    /// record.
    private static let fileBytesLimit = 2 * RecordStore.recordBytesLimit

    private func kept(_ key: String) throws(ControlError) -> Kept? {
        do throws(SystemError) {
            return try recall(key)
        } catch {
            throw ControlError(error)
        }
    }

    private func recall(_ key: String) throws(SystemError) -> Kept? {
        let directory = try Directory(path)
        let file = Self.fileName(of: key)
        let oldest = Self.oldest
        guard entries.contains(where: { $0.file == file && $0.keptAt.microseconds >= oldest }),
            let bytes = try directory.read(file, limitBytes: Self.fileBytesLimit),
            let kept = try? Kept(bytes), kept.key.utf8.elementsEqual(key.utf8)
        else { return nil }
        return kept
    }

    /// How long a request waits for its answer to be written when the disk hangs.
    private static let patience = Duration.seconds(2)

    /// Writes an answer. A failure is ignored: the operation has been carried out, and an error would say the opposite.
    private func keep(_ answered: Kept) async {
        let isGone = answered.answer?.service.map { !exists($0) } ?? false
        let kept = isGone ? answered.hidingValues ?? answered : answered
        let file = Self.fileName(of: kept.key)
        var changes = FileChanges()
        changes.write(file, in: path, kept.encoded(), mode: 0o600)
        changes.synchronize()
        let old = takeOld(of: kept.account, besides: file)
        for entry in old where entry.file != file { changes.remove(entry.file, in: path, ignoresFailure: true) }
        let result = await Disk.shared.begin(changes).wait(atMost: Self.patience)
        if result?.error != nil { return }
        entries.removeAll { $0.file == file }
        entries.append(Entry(file, kept))
        // The service may have been deleted during the write.
        if !isGone, let service = kept.answer?.service, !exists(service) { hideValues(of: service) }
    }

    /// Removes from the index, and returns, the entries that are expired, and the oldest ones of an account that are
    /// too many together with `file`. Each account has a limit of its own.
    private func takeOld(of account: UInt32?, besides file: String? = nil) -> [Entry] {
        let limit = (account == nil ? KeptAnswer.countLimit : Account.answersLimit) - (file == nil ? 0 : 1)
        var count = entries.count { $0.account == account && $0.file != file }
        let oldest = Self.oldest
        var old: [Entry] = []
        entries.removeAll { entry in
            let isExcess = count > limit && entry.account == account && entry.file != file
            guard isExcess || entry.keptAt.microseconds < oldest else { return false }
            if entry.account == account, entry.file != file { count -= 1 }
            old.append(entry)
            return true
        }
        return old
    }

    private static var oldest: Int64 { WallClock.now().microseconds - KeptAnswer.lifetimeSeconds * 1_000_000 }

    /// A key can hold anything and be longer than a file name may be: two 64-bit FNV-1a hashes of it name the file, and
    /// the key inside decides.
    private static func fileName(of key: String) -> String {
        let hashes = [FNV1a.start, 0x6c62_272e_07bb_0142].map { FNV1a.hash(key.utf8, from: $0) }
        return hashes.map { String($0, radix: 16) }.joined(separator: "-") + ".json"
    }

    /// An answer, and the key and fingerprint of its request.
    private struct Kept {
        let key: String
        let fingerprint: String
        let keptAt: Timestamp
        /// Nil while the request has no final answer; it was begun at `keptAt`.
        let answer: KeptAnswer?

        /// The uid of the account whose key it is: keys have no blanks.
        var account: UInt32? {
            key.firstIndex(of: " ").flatMap { UInt32(key[..<$0]) }
        }

        init(key: String, fingerprint: String, keptAt: Timestamp, answer: KeptAnswer?) {
            self.key = key
            self.fingerprint = fingerprint
            self.keptAt = keptAt
            self.answer = answer
        }

        init(_ bytes: [UInt8]) throws(RecordProblem) {
            let members = try JSONMembers(parsing: bytes)
            key = try members.string("key")
            fingerprint = try members.string("fingerprint")
            keptAt = Timestamp(microseconds: Int64(try members.integer("kept_at")))
            guard members.has("status") else {
                answer = nil
                return
            }
            answer = KeptAnswer(
                status: try members.integer("status"),
                location: try members.optionalString("location"),
                body: Array(try members.string("body").utf8),
                service: try members.optionalString("service")
            )
        }

        /// The same without the values of environment variables; nil when the answer has none.
        var hidingValues: Kept? {
            guard let answer, let value = try? JSONParser.parse(answer.body) else { return nil }
            let hidden = Self.hidingValues(in: value)
            guard hidden != value else { return nil }
            let body = hidden.encoded() + [UInt8(ascii: "\n")]
            return Kept(
                key: key,
                fingerprint: fingerprint,
                keptAt: keptAt,
                answer: KeptAnswer(
                    status: answer.status,
                    location: answer.location,
                    body: body,
                    service: answer.service
                )
            )
        }

        /// The object of a service is a member of the document, or of another member.
        private static func hidingValues(in value: JSONValue) -> JSONValue {
            guard case .object(let object) = value else { return value }
            var hidden = JSONObject()
            for member in object {
                if member.key == "env", case .object(let variables) = member.value {
                    var names = JSONObject()
                    for variable in variables { names.append(variable.key, .string(ServiceSpec.hiddenValue)) }
                    hidden.append(member.key, .object(names))
                } else {
                    hidden.append(member.key, hidingValues(in: member.value))
                }
            }
            return .object(hidden)
        }

        func encoded() -> [UInt8] {
            var writer = JSONWriter()
            writer.beginObject()
            writer.member("key", string: key)
            writer.member("fingerprint", string: fingerprint)
            writer.member("kept_at", integer: Int(keptAt.microseconds))
            if let answer {
                writer.member("status", integer: answer.status)
                writer.member("location", string: answer.location)
                writer.member("service", string: answer.service)
                writer.member("body", string: String(decoding: answer.body, as: UTF8.self))
            }
            writer.endObject()
            return writer.finish()
        }
    }
}

extension IdempotencyStore {
    public func once(
        _ key: String,
        of uid: UInt32?,
        fingerprint: String,
        _ operation: @Sendable (_ begunAt: Timestamp?) async -> KeptAnswer
    ) async throws(ControlError) -> KeptAnswer {
        let key = uid.map { "\($0) \(key)" } ?? key
        return try await queues.run(key) { () throws(ControlError) in
            let kept = try self.kept(key)
            if let kept {
                guard kept.fingerprint.utf8.elementsEqual(fingerprint.utf8) else { throw .keyReused }
                if let answer = kept.answer { return answer }
            } else {
                let now = Timestamp(microseconds: WallClock.now().microseconds)
                // If this write fails, a repetition of a request without an answer is treated as a new request.
                await self.keep(Kept(key: key, fingerprint: fingerprint, keptAt: now, answer: nil))
            }
            let answer = await operation(kept?.keptAt)
            guard answer.isFinal else { return answer }
            let now = Timestamp(microseconds: WallClock.now().microseconds)
            await self.keep(Kept(key: key, fingerprint: fingerprint, keptAt: now, answer: answer))
            return answer
        }
    }
}

extension IdempotencyStore: AnswerStore {}
