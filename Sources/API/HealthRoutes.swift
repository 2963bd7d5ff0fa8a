internal import HTTP
internal import JSON
internal import Services

/// What tells a probe how the daemon is.
enum HealthRoutes {
    /// The process answers.
    static func health(_: API, _: Context) async throws(Failure) -> Answer { ok }

    /// The process can do its work: systemd is reachable and its picture of the services is complete.
    static func readiness(_ api: API, _: Context) async throws(Failure) -> Answer {
        if let outage = await api.control.outage { throw Failure(.systemdUnavailable(outage)) }
        return ok
    }

    private static var ok: Answer {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("status", string: "ok")
        writer.endObject()
        return Answer(response: Response(json: writer))
    }
}
