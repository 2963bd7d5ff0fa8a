internal import HTTP
internal import JSON
internal import Services

/// The health checks of the daemon.
enum HealthRoutes {
    /// Liveness: the process answers.
    static func health(_: API, _: Context) async throws(Failure) -> Answer {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("status", string: "ok")
        writer.endObject()
        return Answer(response: Response(json: writer))
    }

    /// Readiness: systemd is reachable, and the states of the services are known.
    static func readiness(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let readiness = await context.control.readiness
        if let outage = readiness.outage {
            guard context.role != nil else { throw .notReady }
            throw Failure(.systemdUnavailable(outage))
        }
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("status", string: "ok")
        if context.role != nil {
            // The file names contain the names of services.
            writer.key("unreadable_records")
            writer.beginArray()
            for file in readiness.unreadableRecords { writer.string(file) }
            writer.endArray()
            writer.member("journal", string: readiness.journalState?.rawValue)
            writer.member("port_owner", string: readiness.isPortOwnerKnown ? "cgroup" : "account")
        }
        writer.endObject()
        return Answer(response: Response(json: writer))
    }
}
