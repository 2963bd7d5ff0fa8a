internal import JSON
internal import Services

/// A record as JSON text. The format has a version; an agent reads its own version and all earlier ones.
enum RecordCoding {
    static let version = 1

    /// The members of a record.
    private static let keys: Set<String> = [
        "version", "id", "phase", "enabled", "created_at", "updated_at", "deleted_by", "replaces", "unstarted",
        "outdated_run", "lacks_files", "changed_fields",
        "spec",
        "run",
    ]

    static func encode(_ record: ServiceRecord) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("version", integer: version)
        writer.member("id", string: record.id)
        writer.member("phase", string: record.phase.rawValue)
        writer.member("enabled", bool: record.isToRun)
        writer.member("created_at", integer: Int(record.createdAt.microseconds))
        writer.member("updated_at", integer: Int(record.updatedAt.microseconds))
        if let requester = record.deletedBy {
            writer.key("deleted_by")
            encode(requester, into: &writer)
        }
        if let run = record.replacedRun { writer.member("replaces", string: run) }
        if record.isUnstarted { writer.member("unstarted", bool: true) }
        if let run = record.outdatedRun { writer.member("outdated_run", string: run) }
        if record.lacksFiles { writer.member("lacks_files", bool: true) }
        if !record.changedFields.isEmpty { encode(record.changedFields, "changed_fields", into: &writer) }
        writer.key("spec")
        encode(record.spec, into: &writer)
        writer.key("run")
        encode(record.run, into: &writer)
        for member in record.unknown { writer.member(member.key, member.value) }
        writer.endObject()
        return writer.finish()
    }

    private static func encode(_ texts: [String], _ key: String, into writer: inout JSONWriter) {
        writer.key(key)
        writer.beginArray()
        for text in texts { writer.string(text) }
        writer.endArray()
    }

    static func encode(_ requester: Requester, into writer: inout JSONWriter) {
        writer.beginObject()
        if let identity = requester.identity { writer.member("identity", string: identity) }
        writer.member("uid", integer: requester.uid.map { Int($0) })
        writer.member("request_id", string: requester.requestID)
        writer.endObject()
    }

    static func decodeRequester(_ members: JSONMembers) throws(RecordProblem) -> Requester {
        Requester(
            identity: try members.optionalString("identity"),
            uid: try members.optionalInteger("uid").flatMap { UInt32(exactly: $0) },
            requestID: try members.string("request_id")
        )
    }

    /// What has its default is left out, unless version 0.1.0 needs it. What this version does not know (a field or a
    /// value of a newer version) is kept and has no effect.
    private static func encode(_ spec: ServiceSpec, into writer: inout JSONWriter) {
        writer.beginObject()
        for field in SpecFields.all where field.isRecorded(of: spec) {
            writer.member(field.key, field.value(in: spec))
        }
        if let account = spec.account { writer.member("account", integer: Int(account)) }
        for member in spec.unknown { writer.member(member.key, member.value) }
        writer.endObject()
    }

    private static func encode(_ run: ServiceRun, into writer: inout JSONWriter) {
        writer.beginObject()
        writer.member("started_at", integer: run.startedAt.map { Int($0.microseconds) })
        writer.member("exited_at", integer: run.exitedAt.map { Int($0.microseconds) })
        switch run.ending {
        case .exited(let code): writer.member("exit_code", integer: code)
        case .killed(let signal): writer.member("signal", integer: signal)
        case nil: break
        }
        writer.member("result", string: run.result)
        writer.member("restarts", integer: run.restarts)
        if run.leftProcesses { writer.member("left_processes", bool: true) }
        if run.isOutputDiscarded { writer.member("output_discarded", bool: true) }
        if run.wasStopped { writer.member("was_stopped", bool: true) }
        if !run.hasMainProcess { writer.member("main_process", bool: false) }
        writer.member("ended", bool: run.hasEnded)
        writer.member("invocation_id", string: run.invocationID)
        writer.member("boot_id", string: run.bootID)
        if run.isRecorded != run.hasEnded { writer.member("recorded", bool: run.isRecorded) }
        if let conditions = run.conditions {
            writer.key("conditions")
            RunCoding.encode(conditions, into: &writer)
        }
        writer.key("processes")
        writer.beginArray()
        for process in run.processes {
            writer.beginObject()
            writer.member("pid", integer: process.pid)
            writer.member("started_at", integer: Int(process.startedAt.microseconds))
            writer.endObject()
        }
        writer.endArray()
        writer.endObject()
    }

    static func decode(_ bytes: [UInt8]) throws(RecordProblem) -> ServiceRecord {
        try decode(JSONMembers(parsing: bytes))
    }

    static func decode(_ value: JSONValue) throws(RecordProblem) -> ServiceRecord {
        try decode(JSONMembers(value, "the record"))
    }

    private static func decode(_ record: JSONMembers) throws(RecordProblem) -> ServiceRecord {
        guard try record.integer("version") == version else {
            throw RecordProblem(description: "its version is not \(version)")
        }
        guard let phase = ServiceRecord.Phase(rawValue: try record.string("phase")) else {
            throw RecordProblem(description: "'phase' is unknown")
        }
        var decoded = ServiceRecord(
            id: try record.string("id"),
            spec: try decodeSpec(try record.object("spec")),
            createdAt: Timestamp(microseconds: Int64(try record.integer("created_at"))),
            updatedAt: Timestamp(microseconds: Int64(try record.integer("updated_at"))),
            isToRun: try record.bool("enabled"),
            phase: phase,
            deletedBy: record.has("deleted_by") ? try decodeRequester(try record.object("deleted_by")) : nil,
            replacedRun: try record.optionalString("replaces"),
            run: try decodeRun(try record.object("run"))
        )
        for member in record.all where !keys.contains(member.key) { decoded.unknown.append(member.key, member.value) }
        if record.has("unstarted") { decoded.isUnstarted = try record.bool("unstarted") }
        decoded.changedFields = try record.strings("changed_fields")
        decoded.outdatedRun = try record.optionalString("outdated_run")
        if record.has("lacks_files") { decoded.lacksFiles = try record.bool("lacks_files") }
        return decoded
    }

    private static func decodeSpec(_ members: JSONMembers) throws(RecordProblem) -> ServiceSpec {
        var draft = SpecDraft()
        for member in members.all {
            if member.key == "account" {
                draft.account = try members.optionalInteger("account").flatMap { UInt32(exactly: $0) }
            } else if let field = SpecFields.all.first(where: { $0.key == member.key }),
                !field.isOption || field.isValue(member.value)
            {
                draft[member.key] = member.value
            } else {
                draft.unknown.append(member.key, member.value)
            }
        }
        let user = try members.string("user")
        do throws(FieldProblems) {
            return try draft.validated(defaults: SpecDraft.Defaults(user: user))
        } catch {
            let problems = error.all.map { "'\($0.field)' \($0.reason)" }.joined(separator: ", ")
            throw RecordProblem(description: problems)
        }
    }

    private static func decodeRun(_ members: JSONMembers) throws(RecordProblem) -> ServiceRun {
        func moment(_ key: String) throws(RecordProblem) -> Timestamp? {
            try members.optionalInteger(key).map { Timestamp(microseconds: Int64($0)) }
        }
        func flag(_ key: String, else absent: Bool) throws(RecordProblem) -> Bool {
            members.has(key) ? try members.bool(key) : absent
        }
        var ending: RunEnding?
        if let code = try members.optionalInteger("exit_code") { ending = .exited(code) }
        if let signal = try members.optionalInteger("signal") { ending = .killed(signal: signal) }
        var run = ServiceRun(
            startedAt: try moment("started_at"),
            exitedAt: try moment("exited_at"),
            ending: ending,
            result: try members.optionalString("result"),
            hasEnded: members.has("ended") ? try members.bool("ended") : nil
        )
        run.restarts = try members.integer("restarts")
        run.leftProcesses = try flag("left_processes", else: false)
        run.isOutputDiscarded = try flag("output_discarded", else: false)
        run.wasStopped = try flag("was_stopped", else: false)
        run.hasMainProcess = try flag("main_process", else: true)
        run.invocationID = try members.optionalString("invocation_id")
        run.bootID = try members.optionalString("boot_id")
        run.isRecorded = try flag("recorded", else: run.hasEnded)
        run.conditions = try members.has("conditions") ? RunCoding.conditions(try members.object("conditions")) : nil
        for process in try members.objects("processes") {
            let startedAt = Timestamp(microseconds: Int64(try process.integer("started_at")))
            run.remember(ServiceRun.Process(pid: try process.integer("pid"), startedAt: startedAt))
        }
        return run
    }
}
