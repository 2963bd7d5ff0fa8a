internal import HTTP
internal import JSON
internal import Services

/// The routes below `/services`.
enum ServiceRoutes {
    static func create(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let wait = try Wait.requested(by: context.query)
        let spec = try spec(of: context.body, api, context)
        let service = try await create(spec, api, context)
        var answer = try await document(service, after: wait, api, context, status: .created)
        answer.response.fields.append("Location", "\(context.path)/\(context.name(of: service.name))")
        return answer
    }

    /// Creates the service, or resumes with the one that an earlier request of the same idempotency key has created.
    private static func create(_ spec: ServiceSpec, _ api: API, _ context: Context) async throws(Failure) -> Service {
        do throws(ControlError) {
            return try await context.control.create(spec)
        } catch .serviceExists {
            guard let begunAt = context.begunAt,
                let existing = try? context.control.service(spec.name.description),
                existing.record.spec == (context.account == nil ? spec : spec.named(existing.name)),
                existing.record.createdAt >= begunAt
            else { throw Failure(.serviceExists) }
            return try await api.ask(context.control.replace, spec).service
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
        _ api: API,
        _ context: Context
    ) throws(Failure) -> ServiceSpec {
        let origin = ServiceBody.Origin(
            name: name,
            defaults: api.configuration.defaults,
            account: context.account,
            accountOfUID: api.configuration.account
        )
        return try ServiceBody.spec(of: body, origin)
    }

    static func replace(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let wait = try Wait.requested(by: context.query)
        let name = context.reference
        let spec = try spec(of: context.body, named: name, api, context)
        let (service, isNew) = try await api.ask(context.control.replace, spec)
        var answer = try await document(service, after: wait, api, context, status: isNew ? .created : .ok)
        if isNew { answer.response.fields.append("Location", context.path) }
        return answer
    }

    static func list(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let wanted = try statuses(context.query)
        var services: [Service] = []
        if wanted != [.removed] {
            services = try await api.services(context).filter { wanted?.contains($0.status) ?? true }
        }
        let removed = wanted?.contains(.removed) ?? false ? try await api.ask(context.control.listRemoved) : []
        if context.wantsText {
            return Answer(
                response: Response(status: .ok, text: ServicePages.table(services, removed, context))
            )
        }
        let usage = try await Usage.requested(of: services, api, context)
        let body = encode(services, removed, usage, api, context)
        return Answer(response: Response(status: .ok, contentType: "application/json", body: body))
    }

    /// The list of all services as JSON.
    static func readAll(_ api: API, _ context: Context) throws(Failure) -> Answer {
        let services = try api.read(context.control.list)
        let body =
            context.hidesEnvironment || context.account != nil
            ? encode(services, [], nil, api, context)
            : api.listCache.encoding(of: services, context.dialect) { encode(services, [], nil, api, context) }
        return Answer(response: Response(status: .ok, contentType: "application/json", body: body))
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
        document(
            try api.read { () throws(ControlError) in try context.control.service(context.reference) },
            api,
            context
        )
    }

    static func get(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let service = try await api.service(context)
        let usage = try await Usage.requested(of: [service], api, context)?[service.name]
        guard context.wantsText else {
            let body = ServiceObject.document(service, usage: usage, api, context)
            let response = Response(status: .ok, contentType: "application/json", body: body)
            return Answer(response: response, service: service.name.description)
        }
        let page = ServicePages.page(service, usage, context)
        let log = try await LogRoutes.lastLines(of: service.record.id, ServicePages.logLines, api, context)
        let text = Array(page.utf8) + (log.isEmpty ? [] : [UInt8(ascii: "\n")] + log)
        let response = Response(status: .ok, contentType: "text/plain; charset=utf-8", body: text)
        return Answer(response: response, service: service.name.description)
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
            try await context.control.delete(context.reference, by: context.requester)
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
        let body = ServiceObject.document(service, api, context)
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
