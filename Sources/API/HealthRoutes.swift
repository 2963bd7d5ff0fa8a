internal import HTTP
internal import JSON
internal import Services

/// What tells a probe how the daemon is.
enum HealthRoutes {
    /// The process answers.
    static func health(_: API, _: Context) async throws(Failure) -> Answer {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("status", string: "ok")
        writer.endObject()
        return Answer(response: Response(json: writer))
    }

    /// The process can do its work: systemd is reachable and its picture of the services is complete.
    static func readiness(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let readiness = await api.control.readiness
        if let outage = readiness.outage { throw Failure(.systemdUnavailable(outage)) }
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("status", string: "ok")
        if !context.isStranger {
            // They have the names of services.
            writer.key("unreadable_records")
            writer.beginArray()
            for file in readiness.unreadableRecords { writer.string(file) }
            writer.endArray()
            writer.member("journal", string: readiness.journalState?.rawValue)
        }
        writer.endObject()
        return Answer(response: Response(json: writer))
    }
}
