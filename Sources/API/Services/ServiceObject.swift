internal import JSON
internal import Services

/// The service as JSON: the documented fields in their order, then the agent's own.
enum ServiceObject {
    /// What an object shows of the environment, whose values may be secrets.
    enum Environment {
        case values
        /// The names, with ``ServiceSpec/hiddenValue`` for each value.
        case names
        /// The member is left out.
        case nothing
    }

    /// `status` is the service's own unless it is gone. With `hasOptions` false the members of ``SpecFields`` that have
    /// no place of their own are left out.
    static func write(
        _ service: Service,
        _ api: API,
        _ context: Context,
        status: ServiceStatus? = nil,
        environment: Environment? = nil,
        hasOptions: Bool = true,
        usage: ResourceUsage? = nil,
        into writer: inout JSONWriter
    ) {
        let word = context.dialect.word(for: status ?? service.status)
        let environment = environment ?? visible(to: context)
        writer.beginObject()
        if case .values = environment, context.account == nil, usage == nil, word == service.status.rawValue,
            let encoding = service.keptEncoding
        {
            writer.rawMembers(encoding.bytes)
        } else {
            writeMembers(service, word, environment, usage, api, context, into: &writer)
        }
        if hasOptions { writer.rawMembers(options(of: service.record.spec)) }
        writer.endObject()
    }

    private static func visible(to context: Context) -> Environment { context.hidesEnvironment ? .names : .values }

    /// The document of one service, from the cache of the service if it has not changed.
    static func document(
        _ service: Service,
        usage: ResourceUsage? = nil,
        _ api: API,
        _ context: Context
    ) -> (bytes: [UInt8], tag: EntityTag) {
        let word = context.dialect.word(for: service.status)
        func members() -> Service.Encoding {
            let bytes = encodedMembers { writer in
                writeMembers(service, word, visible(to: context), usage, api, context, into: &writer)
            }
            let specHash = EntityTag.hash(of: service.record.spec, hidesValues: context.hidesEnvironment)
            return Service.Encoding(bytes, specHash: specHash, hash: FNV1a.hash(bytes, from: specHash))
        }
        let isUsual =
            usage == nil && !context.hidesEnvironment && context.account == nil && word == service.status.rawValue
        let first = isUsual ? service.encoded(members) : members()
        let second = options(of: service.record.spec)
        var document: [UInt8] = []
        document.reserveCapacity(documentBegin.count + first.bytes.count + 1 + second.count + documentEnd.count)
        document += documentBegin
        document += first.bytes
        document.append(UInt8(ascii: ","))
        document += second
        document += documentEnd
        return (document, EntityTag(spec: first.specHash, state: first.hash))
    }

    /// The members of the fields that have no place of their own.
    private static func options(of spec: ServiceSpec) -> [UInt8] {
        spec.options.isEmpty ? standardOptions : encodedOptions { $0.value(in: spec) }
    }

    /// Those of most services, which are not kept with each of them.
    private static let standardOptions = encodedOptions { $0.standardValue }

    private static func encodedOptions(_ value: (any SpecFieldDeclaration) -> JSONValue) -> [UInt8] {
        encodedMembers { writer in
            for field in SpecFields.options { writer.member(field.key, value(field)) }
        }
    }

    /// Members without the braces around them.
    private static func encodedMembers(_ write: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        write(&writer)
        writer.endObject()
        return Array(writer.finish().dropFirst().dropLast())
    }

    /// Whether a key is that of a member that is no field of a spec: one that is ignored in a spec that a client has
    /// got as an object.
    static func isReadOnly(_ key: String) -> Bool { readOnlyKeys.contains(key) }

    private static let readOnlyKeys: Set<String> = [
        "id", "computer_id", "tenant_id", "status", "pid", "exit_code", "last_started_at", "last_exited_at",
        "created_at",
        "updated_at", "unit", "active_state", "sub_state", "result", "signal", "restarts", "boot_id", "invocation_id",
        "message", "pending", "sub_status", "drop_ins", "usage",
    ]

    /// The document of a service that has failed, with the last lines of its log.
    static func document(_ service: Service, log: [String], _ api: API, _ context: Context) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("data")
        write(service, api, context, into: &writer)
        writer.key("details")
        writer.beginObject()
        writer.key("log")
        writer.beginArray()
        for line in log { writer.string(line) }
        writer.endArray()
        writer.endObject()
        writer.endObject()
        return writer.finish() + [UInt8(ascii: "\n")]
    }

    /// What is around the service in its document.
    private static let documentBegin = Array(#"{"data":{"#.utf8)
    private static let documentEnd = Array("}}\n".utf8)

    /// The object as a part of another document.
    static func value(of service: Service, _ api: API, _ context: Context) -> [UInt8] {
        var writer = JSONWriter()
        write(service, api, context, into: &writer)
        return writer.finish()
    }

    /// A service that was deleted, with who did it when.
    static func write(_ removed: RemovedService, _ api: API, _ context: Context, into writer: inout JSONWriter) {
        let service = Service(record: removed.record, state: UnitState(), intent: .stop)
        writer.beginObject()
        writeMembers(
            service,
            context.dialect.word(for: .removed),
            visible(to: context),
            nil,
            api,
            context,
            into: &writer
        )
        writer.rawMembers(options(of: removed.record.spec))
        writer.member("removed_at", string: removed.removedAt.description)
        writer.key("removed_by")
        writer.beginObject()
        writer.member("identity", string: removed.removedBy.identity)
        writer.member("uid", integer: removed.removedBy.uid.map { Int($0) })
        writer.member("request_id", string: removed.removedBy.requestID)
        writer.endObject()
        writer.endObject()
    }

    private static func writePending(_ pending: PendingChange?, into writer: inout JSONWriter) {
        guard let pending else { return writer.null() }
        writer.beginObject()
        writer.member("operation", string: pending.operation.rawValue)
        writer.member("since", string: pending.since.description)
        writer.member("reason", string: pending.reason.rawValue)
        writer.endObject()
    }

    private static func writeMembers(
        _ service: Service,
        _ status: String,
        _ environment: Environment,
        _ usage: ResourceUsage?,
        _ api: API,
        _ context: Context,
        into writer: inout JSONWriter
    ) {
        let record = service.record
        let spec = record.spec
        let run = record.run
        writer.member("id", string: record.id)
        writer.member("computer_id", string: api.configuration.computer.computerID)
        writer.member("tenant_id", string: api.configuration.computer.tenantID)
        writer.member("name", string: context.name(of: spec.name))
        writer.member("command", string: spec.command)
        writeEnvironment(spec.environment, environment, into: &writer)
        writer.member("cwd", string: spec.workingDirectory)
        writer.member("restart", string: spec.restart.rawValue)
        writer.member("status", string: status)
        writer.member("pid", integer: service.state.mainPID)
        writer.member("exit_code", integer: run.ending?.exitCode)
        writer.member("last_started_at", string: run.startedAt?.description)
        writer.member("last_exited_at", string: run.exitedAt?.description)
        writer.member("created_at", string: record.createdAt.description)
        writer.member("updated_at", string: record.updatedAt.description)

        writer.member("working_dir", string: spec.workingDirectory)
        writer.member("restart_policy", string: spec.restart.rawValue)
        writer.member("port", integer: spec.port)
        writer.member("user", string: spec.user)
        writer.member("unit", string: UnitName.unit(of: spec.name))
        writer.member("active_state", string: service.state.activeState.rawValue)
        writer.member("sub_state", string: service.state.subState)
        writer.member("result", string: service.state.result)
        writer.member("signal", string: run.ending?.signalName)
        writer.member("restarts", integer: run.restarts)
        writer.member("boot_id", string: run.bootID)
        writer.member("invocation_id", string: run.invocationID)
        writer.member("message", string: service.message)
        writer.key("pending")
        writePending(service.pending, into: &writer)
        writer.member("sub_status", string: service.subStatus?.rawValue)
        writer.key("drop_ins")
        writer.beginArray()
        for path in service.dropIns { writer.string(path) }
        writer.endArray()
        writer.key("usage")
        writeUsage(usage, into: &writer)
    }

    private static func writeEnvironment(
        _ variables: [String: String],
        _ environment: Environment,
        into writer: inout JSONWriter
    ) {
        if case .nothing = environment { return }
        writer.key("env")
        writer.beginObject()
        for (name, value) in variables.sorted(by: { $0.key < $1.key }) {
            if case .names = environment {
                writer.member(name, string: ServiceSpec.hiddenValue)
            } else {
                writer.member(name, string: value)
            }
        }
        writer.endObject()
    }

    /// The resource usage; null when it was not requested.
    private static func writeUsage(_ usage: ResourceUsage?, into writer: inout JSONWriter) {
        guard let usage else { return writer.null() }
        writer.beginObject()
        writer.member("memory", integer: usage.memoryBytes)
        writer.member("cpu_ms", integer: usage.cpu.map { Int($0 / .milliseconds(1)) })
        writer.member("tasks", integer: usage.tasks)
        writer.endObject()
    }
}
