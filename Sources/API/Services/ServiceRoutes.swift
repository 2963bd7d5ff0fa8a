internal import HTTP
internal import JSON
internal import Services
internal import Synchronization

/// The routes below `/services`.
enum ServiceRoutes {
    static func create(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let wait = try Wait.requested(by: context.query)
        let starts = try context.query.flag("start", else: true)
        let spec = try spec(of: context.body, isNew: true, api, context)
        if try context.query.flag(DryRun.parameter) { return try await DryRun.answer(spec, nil, api, context) }
        let service = try await create(spec, starts: starts, api, context)
        var answer = try await document(service, after: wait, api, context, status: .created)
        answer.response.fields.append("Location", "\(context.path)/\(context.name(of: service.name))")
        return answer
    }

    /// Creates the service, or resumes with the one that an earlier request of the same idempotency key has created.
    private static func create(
        _ spec: ServiceSpec,
        starts: Bool,
        _ api: API,
        _ context: Context
    ) async throws(Failure) -> Service {
        do throws(ControlError) {
            return try await context.control.create(spec, starts: starts)
        } catch .serviceExists {
            guard let begunAt = context.begunAt,
                let existing = try? context.control.service(spec.name.description),
                existing.record.spec == (context.account == nil ? spec : spec.named(existing.name)),
                existing.record.createdAt >= begunAt
            else { throw Failure(.serviceExists) }
            guard starts else { return existing }
            return try await api.ask { () throws(ControlError) in
                try await context.control.replace(spec, restarts: true).service
            }
        } catch {
            throw Failure(error)
        }
    }

    /// The service, if an earlier request of the same idempotency key has done the operation already.
    private static func carryOn(
        _ api: API,
        _ context: Context,
        after done: ControlError,
        _ call: (String) async throws(ControlError) -> Service
    ) async throws(Failure) -> Service {
        do throws(ControlError) {
            return try await call(context.reference)
        } catch {
            guard context.begunAt != nil, error == done else { throw Failure(error) }
            return try await api.service(context)
        }
    }

    private static func spec(
        of body: [UInt8],
        named name: String? = nil,
        changing former: ServiceSpec? = nil,
        isNew: Bool = false,
        _ api: API,
        _ context: Context
    ) throws(Failure) -> ServiceSpec {
        let origin = ServiceBody.Origin(
            name: name,
            defaults: api.configuration.defaults,
            account: context.account,
            accountOfUID: api.configuration.account,
            former: former,
            ignoresReadOnly: !isNew
        )
        return try ServiceBody.spec(of: body, origin)
    }

    static func replace(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let wait = try Wait.requested(by: context.query)
        let restarts = try context.query.flag("restart", else: true)
        let isDryRun = try context.query.flag(DryRun.parameter)
        let isExistingAsked = isDryRun || ServiceName.isUUID(context.reference[...])
        let existing = isExistingAsked ? try? context.control.service(context.reference) : nil
        let name = existing.map { context.name(of: $0.name) } ?? context.reference
        let spec = try spec(of: context.body, named: name, api, context)
        if isDryRun {
            let condition = Precondition(context.fields)
            return try await DryRun.answer(spec, existing, restarts: restarts, if: condition, api, context)
        }
        let (service, isNew) = try await api.ask { () throws(ControlError) in
            guard let condition = Precondition(context.fields) else {
                return try await context.control.replace(spec, restarts: restarts)
            }
            let service: Service?
            do throws(ControlError) {
                service = try await context.control.change(context.reference, restarts: restarts) { former in
                    condition.isMet(by: former) ? spec.named(former.name) : nil
                }
            } catch .serviceNotFound {
                service = nil
            }
            guard let service else { throw .preconditionFailed }
            return (service, false)
        }
        var answer = try await document(service, after: wait, api, context, status: isNew ? .created : .ok)
        if isNew { answer.response.fields.append("Location", context.path) }
        return answer
    }

    static func patch(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let wait = try Wait.requested(by: context.query)
        let restarts = try context.query.flag("restart", else: true)
        let condition = Precondition(context.fields)
        if try context.query.flag(DryRun.parameter) {
            let service = try await api.service(context)
            guard condition?.isMet(by: service.record.spec) ?? true else { throw Failure(.preconditionFailed) }
            let spec = try patched(service.record.spec, api, context)
            return try await DryRun.answer(spec, service, restarts: restarts, if: condition, api, context)
        }
        let refusal = Mutex<Failure?>(nil)
        let service = try await api.ask { () throws(ControlError) in
            try await context.control.change(context.reference, restarts: restarts) { former in
                do throws(Failure) {
                    guard condition?.isMet(by: former) ?? true else { throw Failure(.preconditionFailed) }
                    return try patched(former, api, context)
                } catch {
                    refusal.withLock { $0 = error }
                    return nil
                }
            }
        }
        if let failure = refusal.withLock({ $0 }) { throw failure }
        guard let service else { throw Failure(.serviceNotFound) }
        return try await document(service, after: wait, api, context)
    }

    /// The spec of a service with the changes of the body.
    private static func patched(
        _ former: ServiceSpec,
        _ api: API,
        _ context: Context
    ) throws(Failure) -> ServiceSpec {
        let spec = try spec(of: context.body, named: context.name(of: former.name), changing: former, api, context)
        return spec.named(former.name)
    }

    static func reload(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        document(
            try await api.ask { () throws(ControlError) in
                try await context.control.signal(context.reference, nil)
            },
            api,
            context
        )
    }

    static func signal(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let signal = try SignalBody.signal(of: context.body)
        return document(
            try await api.ask { () throws(ControlError) in
                try await context.control.signal(context.reference, signal)
            },
            api,
            context
        )
    }

    static func list(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let wanted = try statuses(context.query)
        let labels = try LabelFilter.requested(by: context.query)
        var services: [Service] = []
        if wanted != [.removed] {
            services = try await api.services(context).filter { service in
                wanted?.contains(service.status) ?? true && labels.allSatisfy { $0.isOf(service.record.spec) }
            }
        }
        var removed = wanted?.contains(.removed) ?? false ? try await api.ask(context.control.listRemoved) : []
        removed.removeAll { removed in !labels.allSatisfy { $0.isOf(removed.record.spec) } }
        if context.wantsText {
            let text = Array(ServicePages.table(services, removed, context).utf8)
            return Answer(response: Response(text: text, tag(of: services, text, context), context.fields))
        }
        let usage = try await Usage.requested(of: services, api, context)
        let body = encode(services, removed, usage, api, context)
        return Answer(response: Response(json: body, tag(of: services, body, context), context.fields))
    }

    /// The list of all services as JSON.
    static func readAll(_ api: API, _ context: Context) throws(Failure) -> Answer {
        let services = try api.read(context.control.list)
        func encoded() -> ListCache.Encoding {
            let body = encode(services, [], nil, api, context)
            return ListCache.Encoding(bytes: body, tag: tag(of: services, body, context))
        }
        let list =
            context.hidesEnvironment || context.account != nil
            ? encoded() : api.listCache.encoding(of: services, context.dialect, encoded)
        return Answer(response: Response(json: list.bytes, list.tag, context.fields))
    }

    private static func tag(of services: [Service], _ body: [UInt8], _ context: Context) -> EntityTag {
        let hidesValues = context.hidesEnvironment
        let specs = services.reduce(FNV1a.start) { hash, service in
            let kept = hidesValues ? nil : service.keptEncoding?.specHash
            let specHash = kept ?? EntityTag.hash(of: service.record.spec, hidesValues: hidesValues)
            return FNV1a.hash(service.record.id.utf8, from: hash ^ specHash)
        }
        return EntityTag(spec: specs, state: FNV1a.hash(body))
    }

    private static func encode(
        _ services: [Service],
        _ removed: [RemovedService],
        _ usage: Usage.Figures?,
        _ api: API,
        _ context: Context
    ) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("data")
        writer.beginArray()
        for service in services {
            ServiceObject.write(service, api, context, usage: usage?[service.name], into: &writer)
        }
        for service in removed { ServiceObject.write(service, api, context, into: &writer) }
        writer.endArray()
        writer.member("total", integer: services.count + removed.count)
        writer.endObject()
        return writer.finish() + [UInt8(ascii: "\n")]
    }

    /// A service as JSON.
    static func read(_ api: API, _ context: Context) throws(Failure) -> Answer {
        let service = try api.read { () throws(ControlError) in try context.control.service(context.reference) }
        let (body, tag) = ServiceObject.document(service, api, context)
        return Answer(response: Response(json: body, tag, context.fields), service: service.name.description)
    }

    static func get(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let service = try await api.service(context)
        let usage = try await Usage.requested(of: [service], api, context)?[service.name]
        guard context.wantsText else {
            let (body, tag) = ServiceObject.document(service, usage: usage, api, context)
            let response = Response(json: body, tag, context.fields)
            return Answer(response: response, service: service.name.description)
        }
        let page = ServicePages.page(service, usage, context)
        let log = try await LogRoutes.lastLines(of: service.record.id, ServicePages.logLines, api, context)
        let text = Array(page.utf8) + (log.isEmpty ? [] : [UInt8(ascii: "\n")] + log)
        let specHash = EntityTag.hash(of: service.record.spec, hidesValues: context.hidesEnvironment)
        let tag = EntityTag(spec: specHash, state: FNV1a.hash(text))
        return Answer(response: Response(text: text, tag, context.fields), service: service.name.description)
    }

    static func unit(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let unit = try await api.ask(context.control.unitFile, context.reference)
        let response = Response(status: .ok, contentType: "text/plain; charset=utf-8", body: unit)
        return Answer(response: response, service: context.reference)
    }

    static func start(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let wait = try Wait.requested(by: context.query)
        let service = try await carryOn(api, context, after: .serviceRunning, context.control.start)
        return try await document(service, after: wait, api, context)
    }

    static func restart(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let wait = try Wait.requested(by: context.query)
        return try await document(
            try await api.ask(context.control.restart, context.reference),
            after: wait,
            api,
            context
        )
    }

    static func stop(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let wait = try Wait.requested(by: context.query)
        let service = try await carryOn(api, context, after: .serviceNotRunning, context.control.stop)
        return try await document(service, after: wait, api, context)
    }

    static func delete(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let name = try await api.ask { () throws(ControlError) in
            let condition = Precondition(context.fields)
            return try await context.control.delete(context.reference, by: context.requester) { spec in
                condition?.isMet(by: spec) ?? true
            }
        }
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("data")
        writer.beginObject()
        writer.member("name", string: context.name(of: name))
        writer.member("status", string: ServiceStatus.removed.rawValue)
        writer.endObject()
        writer.endObject()
        return Answer(response: Response(json: writer), service: name.description)
    }

    /// The document of the service, after the wait that the client requested.
    private static func document(
        _ service: Service,
        after wait: Wait?,
        _ api: API,
        _ context: Context,
        status: StatusCode = .ok
    ) async throws(Failure) -> Answer {
        guard let wait else { return document(service, api, context, status: status) }
        do throws(ControlError) {
            // By id: another service may get the name during the wait.
            let id = service.record.id
            let (service, log) = try await context.control.wait(for: wait.state, of: id, within: wait.timeout)
            guard service.status == .failed else { return document(service, api, context, status: status) }
            let body = ServiceObject.document(service, log: log, api, context)
            let response = Response(status: status, contentType: "application/json", body: body)
            return Answer(response: response, service: service.name.description)
        } catch .waitTimeout(let service, let log, let portHolder) {
            var failure = Failure.waitTimeout(wait.state, ServiceObject.value(of: service, api, context), log)
            if let port = service.record.spec.port, let portHolder {
                failure.sentence += ": port \(port) is held by \(portHolder)"
            }
            throw failure
        } catch {
            throw Failure(error)
        }
    }

    private static func document(
        _ service: Service,
        _ api: API,
        _ context: Context,
        status: StatusCode = .ok
    ) -> Answer {
        let (body, _) = ServiceObject.document(service, api, context)
        let response = Response(status: status, contentType: "application/json", body: body)
        return Answer(response: response, service: service.name.description)
    }

    /// The filter `?status=failed,running`; nil without one.
    static func statuses(_ query: Query) throws(Failure) -> Set<ServiceStatus>? {
        guard let text = query.first("status") else { return nil }
        var statuses: Set<ServiceStatus> = []
        for word in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let status = ServiceStatus(rawValue: String(word)) else {
                let words = ServiceStatus.allCases.map(\.rawValue).joined(separator: ", ")
                throw .badRequest("the query parameter 'status' takes words of \(words), separated by commas")
            }
            statuses.insert(status)
        }
        return statuses
    }
}
