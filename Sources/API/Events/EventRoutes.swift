internal import HTTP
internal import JSON
internal import Services

/// `GET /events`: every change of every service.
enum EventRoutes {
    static func events(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let position: EventPosition?
        if let text = context.fields[LogRoutes.lastEventID], !text.isEmpty {
            // An unknown id is handled like one that is too old: gap and snapshot.
            position = EventPosition(text) ?? EventPosition(bootID: "", sequence: 0)
        } else {
            position = nil
        }
        let events = try await api.ask { () throws(ControlError) in
            try await context.control.readEvents(after: position)
        }
        let writer = EventWriter(api: api, context: context, bootID: events.bootID)
        var response = Response(status: .ok, fields: ["Content-Type": MediaType.eventStream])
        response.fields.append("Cache-Control", "no-store")
        let body = BodyStream { output throws(BodyStreamClosed) in
            while try await writer.write(await events.next(), to: output) {}
        }
        return Answer(response: response, stream: body)
    }
}

/// Writes events as server-sent events.
private struct EventWriter {
    let api: API
    let context: Context
    let bootID: String

    /// The number of bytes after which a piece of a snapshot is sent; the last service in it may exceed that.
    private static let bytesAtATime = 64 * 1024

    /// Writes a piece; false when it was the last.
    func write(_ piece: EventPiece, to output: any BodyWriter) async throws(BodyStreamClosed) -> Bool {
        switch piece {
        case .gap: try await output.write(gap("the events since then are not known any more; a snapshot follows"))
        case .snapshot(let services, let sequence, let at):
            var bytes: [UInt8] = []
            for service in services {
                bytes += snapshot(of: service, sequence, at)
                guard bytes.count >= Self.bytesAtATime else { continue }
                try await output.write(bytes)
                bytes = []
            }
            try await output.write(bytes + ready(sequence))
        case .events(let events): try await output.write(events.flatMap(event))
        case .quiet: try await output.write(ServerSentEvent.comment)
        case .tooSlow:
            try await output.write(gap("the reader is too far behind"))
            return false
        case .end: return false
        }
        return true
    }

    private func snapshot(of service: Service, _ sequence: Int, _ at: Timestamp) -> [UInt8] {
        // Without an id: a client that is disconnected during the snapshot must start again.
        encode(service, service.status, id: nil) { writer in
            writer.member("seq", integer: sequence)
            writer.member("at", string: at.description)
            writer.member("type", string: "snapshot")
            writer.member("previous_status", string: nil)
            writer.member("snapshot", bool: true)
        }
    }

    private func event(_ event: ServiceEvent) -> [UInt8] {
        let status = event.kind == .removed ? ServiceStatus.removed : event.service.status
        return encode(event.service, status, id: id(event.sequence)) { writer in
            writer.member("seq", integer: event.sequence)
            writer.member("at", string: event.at.description)
            writer.member("type", string: event.kind.rawValue)
            writer.member("previous_status", string: event.previousStatus.map(context.dialect.word))
            guard let run = event.run else { return }
            writer.key("run")
            writer.beginObject()
            RunRoutes.write(run, into: &writer)
            writer.endObject()
        }
    }

    /// An event about a service. A command and a working directory that make the line too long are cut, and long
    /// options are left out, each with `"truncated":true`.
    private func encode(
        _ service: Service,
        _ status: ServiceStatus,
        id: String?,
        _ head: (inout JSONWriter) -> Void
    ) -> [UInt8] {
        func data(_ service: Service, isTruncated: Bool = true) -> [UInt8] {
            var writer = JSONWriter()
            writer.beginObject()
            head(&writer)
            if isTruncated { writer.member("truncated", bool: true) }
            writer.key("service")
            ServiceObject.write(
                service,
                api,
                context,
                status: status,
                environment: .nothing,
                hasOptions: !isTruncated || service.record.spec.options.byteCount <= Self.optionsBytesLimit,
                into: &writer
            )
            writer.endObject()
            var bytes: [UInt8] = []
            ServerSentEvent.appendEscapingLineSeparators(writer.finish(), to: &bytes)
            return bytes
        }
        var bytes = data(service, isTruncated: false)
        if bytes.count > LogLine.jsonBytesLimit {
            let spec = service.record.spec
            // The directory is in the object twice and in the message once.
            let directory = JSONText.prefix(of: spec.workingDirectory, encodedBytes: Self.directoryBytesLimit)
            let room = LogLine.jsonBytesLimit - data(service.showing(command: "", workingDirectory: directory)).count
            let command = JSONText.prefix(of: spec.command, encodedBytes: room)
            bytes = data(service.showing(command: command, workingDirectory: directory))
        }
        return ServerSentEvent.encode(event: "service", id: id, data: bytes)
    }

    /// The longest options, in JSON, of an event that is cut; longer ones are left out of it.
    private static let optionsBytesLimit = 16 * 1024

    /// The encoded length to which a directory is cut: that of the longest path (PATH_MAX) without control characters.
    private static let directoryBytesLimit = 4096

    private func ready(_ sequence: Int) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("seq", integer: sequence)
        writer.endObject()
        return ServerSentEvent.encode(event: "ready", id: id(sequence), data: writer.finish())
    }

    private func gap(_ reason: String) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("reason", string: reason)
        writer.endObject()
        return ServerSentEvent.encode(event: "gap", data: writer.finish())
    }

    private func id(_ sequence: Int) -> String { EventPosition(bootID: bootID, sequence: sequence).description }
}
