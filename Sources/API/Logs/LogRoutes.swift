internal import HTTP
internal import JSON
internal import Services

/// `GET /services/{ref}/logs`.
enum LogRoutes {
    /// The position to resume from: the WHATWG HTML standard, "Server-sent events".
    static let lastEventID = "Last-Event-ID"

    static func logs(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let type = context.accept.best(of: [MediaType.text, MediaType.eventStream, MediaType.lines, MediaType.json])
        var query = try LogParameters.query(context.query, follows: type == MediaType.eventStream, now: api.now())
        if type == MediaType.json { query.isFollowing = false }
        if type == MediaType.eventStream { query.cursor = context.fields[lastEventID] }
        let wanted = query
        let log = try await api.ask { () throws(ControlError) in
            try await context.control.readLog(context.reference, wanted)
        }
        let body: BodyStream
        switch type {
        case MediaType.eventStream: body = eventStream(log, isFollowing: wanted.isFollowing)
        case MediaType.lines:
            body = lines(log, isFollowing: wanted.isFollowing) {
                LogLine.json($0, serviceID: log.serviceID) + [UInt8(ascii: "\n")]
            }
        case MediaType.json: body = document(log)
        default: body = lines(log, isFollowing: wanted.isFollowing) { LogLine.text($0) }
        }
        let contentType = type == MediaType.text ? "text/plain; charset=utf-8" : type
        var response = Response(status: .ok, fields: ["Content-Type": contentType])
        response.fields.append("Cache-Control", "no-store")
        return Answer(response: response, stream: body, service: context.reference)
    }

    private static func eventStream(_ log: any LogReading, isFollowing: Bool) -> BodyStream {
        BodyStream { writer throws(BodyStreamClosed) in
            while true {
                switch try await piece(of: log) {
                case .entries(let entries):
                    var bytes: [UInt8] = []
                    for entry in entries {
                        let data = LogLine.json(entry, serviceID: log.serviceID)
                        bytes += ServerSentEvent.encode(id: entry.cursor, data: data)
                    }
                    try await writer.write(bytes)
                case .quiet: try await writer.write(ServerSentEvent.comment)
                case .removed: return try await writer.write(ServerSentEvent.removed)
                case .end: return try end(isFollowing: isFollowing)
                }
            }
        }
    }

    private static func lines(
        _ log: any LogReading,
        isFollowing: Bool,
        _ encode: @escaping @Sendable (LogEntry) -> [UInt8]
    ) -> BodyStream {
        BodyStream { writer throws(BodyStreamClosed) in
            while true {
                switch try await piece(of: log) {
                case .entries(let entries): try await writer.write(entries.flatMap(encode))
                case .quiet: continue
                case .removed: return
                case .end: return try end(isFollowing: isFollowing)
                }
            }
        }
    }

    /// `{"data":[…],"total":n}` of any length, streamed so that it is never in memory as a whole.
    private static func document(_ log: any LogReading) -> BodyStream {
        BodyStream { writer throws(BodyStreamClosed) in
            var bytes = Array("{\"data\":[".utf8)
            var total = 0
            while case .entries(let entries) = try await piece(of: log) {
                for entry in entries {
                    if total > 0 { bytes.append(UInt8(ascii: ",")) }
                    // One document has no lines that could be too long for a reader.
                    bytes += LogLine.json(entry, serviceID: log.serviceID, bytesLimit: .max)
                    total += 1
                }
                try await writer.write(bytes)
                bytes = []
            }
            try end(isFollowing: false)
            try await writer.write(bytes + Array("],\"total\":\(total)}\n".utf8))
        }
    }

    /// The next lines. When the log cannot be read further, the response ends without its last chunk, so that the
    /// client sees that it is incomplete.
    private static func piece(of log: any LogReading) async throws(BodyStreamClosed) -> LogPiece {
        do throws(ControlError) {
            return try await log.next()
        } catch {
            throw BodyStreamClosed()
        }
    }

    /// A followed log ends by cancellation. Any other log that was cancelled is incomplete: throws, so that the client
    /// sees it.
    private static func end(isFollowing: Bool) throws(BodyStreamClosed) {
        if !isFollowing, Task.isCancelled { throw BodyStreamClosed() }
    }

    /// The last lines of a service's log, as text.
    static func lastLines(
        of reference: String,
        _ count: Int,
        _ api: API,
        _ context: Context
    ) async throws(Failure) -> [UInt8] {
        var query = LogQuery()
        query.tail = count
        let wanted = query
        var bytes: [UInt8] = []
        do throws(ControlError) {
            let log = try await context.control.readLog(reference, wanted)
            while case .entries(let entries) = try await log.next() { bytes += entries.flatMap(LogLine.text) }
        } catch {
            throw Failure(error)
        }
        return bytes
    }
}
