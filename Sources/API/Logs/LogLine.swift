internal import JSON
internal import Services

/// The output formats of a log line.
enum LogLine {
    /// The longest JSON object, so that the line with `data: ` in front is not longer than every client can read.
    static let jsonBytesLimit = ServerSentEvent.lineBytesLimit - "data: ".utf8.count

    /// The line as a JSON object; a line that makes it longer than `bytesLimit` is cut, with `"truncated":true`.
    static func json(_ entry: LogEntry, serviceID: String, bytesLimit: Int = jsonBytesLimit) -> [UInt8] {
        let whole = object(entry, entry.line, serviceID, isTruncated: false)
        guard whole.count > bytesLimit else { return whole }
        let frame = object(entry, "", serviceID, isTruncated: true).count
        // The line is in the object twice, under the two names that the client libraries know.
        let line = JSONText.prefix(of: entry.line, encodedBytes: (bytesLimit - frame) / 2)
        return object(entry, line, serviceID, isTruncated: true)
    }

    private static func object(_ entry: LogEntry, _ line: String, _ serviceID: String, isTruncated: Bool) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("timestamp", string: entry.timestamp.description)
        writer.member("stream", string: entry.stream.rawValue)
        writer.member("line", string: line)
        writer.member("message", string: line)
        writer.member("service_id", string: serviceID)
        writer.member("pid", integer: entry.pid)
        if isTruncated { writer.member("truncated", bool: true) }
        writer.endObject()
        var bytes: [UInt8] = []
        ServerSentEvent.appendEscapingLineSeparators(writer.finish(), to: &bytes)
        return bytes
    }

    /// The line for a person: `TIMESTAMP STREAM LINE`.
    static func text(_ entry: LogEntry) -> [UInt8] {
        Array("\(entry.timestamp) \(entry.stream.rawValue) \(PlainText.printable(entry.line))\n".utf8)
    }
}
