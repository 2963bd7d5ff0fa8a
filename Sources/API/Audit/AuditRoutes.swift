internal import HTTP
internal import JSON
internal import Services

/// `GET /audit`: who did what.
enum AuditRoutes {
    static let parameters = ["since", "service", "identity", "limit"]

    static func get(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let query = try query(context.query, now: api.now())
        let entries = try await api.ask(api.audit.read, query)
        if context.wantsText { return Answer(response: Response(status: .ok, text: table(entries))) }
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("data")
        writer.beginArray()
        for entry in entries { write(entry, into: &writer) }
        writer.endArray()
        writer.member("total", integer: entries.count)
        writer.endObject()
        return Answer(response: Response(json: writer))
    }

    private static func query(_ parameters: Query, now: Timestamp) throws(Failure) -> AuditQuery {
        var query = AuditQuery()
        query.since = try TimeParameter.moment("since", parameters, now)
        query.service = parameters.first("service")
        query.identity = parameters.first("identity")
        if let text = parameters.first("limit") {
            guard text.utf8.count <= 4, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let limit = Int(text),
                (1...AuditQuery.limitLimit).contains(limit)
            else { throw .badRequest("the query parameter 'limit' must be from 1 to \(AuditQuery.limitLimit)") }
            query.limit = limit
        }
        return query
    }

    private static func write(_ entry: AuditEntry, into writer: inout JSONWriter) {
        writer.beginObject()
        writer.member("at", string: entry.at.description)
        writer.member("identity", string: entry.identity)
        writer.member("role", string: entry.role)
        writer.key("peer")
        writer.beginObject()
        switch entry.peer {
        case .process(let uid, let pid):
            writer.member("uid", integer: Int(uid))
            writer.member("pid", integer: Int(pid))
        case .address(let address): writer.member("address", string: address)
        case .machine(let contextID): writer.member("cid", integer: contextID.map { Int($0) })
        }
        writer.endObject()
        writer.member("method", string: entry.method)
        writer.member("path", string: entry.path)
        writer.member("service", string: entry.service)
        writer.member("status", integer: entry.status)
        writer.member("request_id", string: entry.requestID)
        writer.endObject()
    }

    private static func table(_ entries: [AuditEntry]) -> String {
        PlainText.table(
            [["AT", "WHO", "FROM", "STATUS", "SERVICE", "REQUEST"]]
                + entries.map { entry in
                    [
                        entry.at.description, entry.identity ?? "-", origin(entry.peer),
                        entry.status.map(String.init) ?? "-", PlainText.printable(entry.service ?? "-"),
                        PlainText.printable("\(entry.method) \(entry.path)"),
                    ]
                }
        )
    }

    private static func origin(_ peer: AuditEntry.Peer) -> String {
        switch peer {
        case .process(let uid, let pid): "uid \(uid), pid \(pid)"
        case .address(let address): address
        case .machine(let contextID): contextID.map { "cid \($0)" } ?? "a machine"
        }
    }
}
