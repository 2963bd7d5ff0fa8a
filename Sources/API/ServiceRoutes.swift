internal import HTTP
internal import JSON
internal import Services

/// The routes below `/services`.
enum ServiceRoutes {
    static func create(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let spec = try ServiceBody.spec(of: context.body, defaults: api.configuration.defaults)
        let service = try await api.ask(api.control.create, spec)
        var answer = document(service, api, context, status: .created)
        answer.response.fields.append("Location", "\(context.path)/\(service.name)")
        return answer
    }

    static func list(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let wanted = try statuses(context)
        let services = try await api.ask(api.control.list)
            .filter { wanted?.contains($0.status) ?? true }
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("data")
        writer.beginArray()
        for service in services { ServiceObject.write(service, api, context, into: &writer) }
        writer.endArray()
        writer.member("total", integer: services.count)
        writer.endObject()
        return Answer(response: Response(json: writer))
    }

    static func get(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        document(try await api.ask(api.control.service, context.reference), api, context)
    }

    static func start(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        document(try await api.ask(api.control.start, context.reference), api, context)
    }

    static func stop(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        document(try await api.ask(api.control.stop, context.reference), api, context)
    }

    static func restart(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        document(try await api.ask(api.control.restart, context.reference), api, context)
    }

    static func delete(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let name = try await api.ask(api.control.delete, context.reference)
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("data")
        writer.beginObject()
        writer.member("name", string: name.description)
        writer.member("status", string: ServiceStatus.removed.rawValue)
        writer.endObject()
        writer.endObject()
        return Answer(response: Response(json: writer), service: name.description)
    }

    private static func document(
        _ service: Service,
        _ api: API,
        _ context: Context,
        status: StatusCode = .ok
    ) -> Answer {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("data")
        ServiceObject.write(service, api, context, into: &writer)
        writer.endObject()
        return Answer(response: Response(status: status, json: writer), service: service.name.description)
    }

    /// The filter `?status=failed,running`; nil without one.
    private static func statuses(_ context: Context) throws(Failure) -> Set<ServiceStatus>? {
        guard let text = context.query.first("status") else { return nil }
        var statuses: Set<ServiceStatus> = []
        for word in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let status = ServiceStatus(rawValue: String(word)), status != .removed else {
                throw .badRequest("the query parameter 'status' has an unknown status")
            }
            statuses.insert(status)
        }
        return statuses
    }
}
