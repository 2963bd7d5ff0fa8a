/// Writes responses in the form of RFC 9112.
///
/// Precondition of each function: field names are tokens, field values hold no CR, LF or NUL, and no field is one that
/// the encoder writes itself (Content-Length, Transfer-Encoding, Connection, Date). What may come from a client is
/// checked in every build, the values; names, which are in the code, in a debug build alone.
public enum ResponseEncoder {
    /// The interim response that asks for the body. RFC 9110 §15.2.1.
    public static let continueResponse = Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)

    /// What the head of a response hardly ever goes beyond.
    private static let headCapacity = 512

    /// The chunk that ends a streamed response. RFC 9112 §7.1.
    public static let lastChunk = Array("0\r\n\r\n".utf8)

    /// A longer body is sent from where it is; a shorter one is copied behind the head, so that one call sends both.
    static let joinedBodyBytesLimit = 16 * 1024

    /// A whole response to a request of `method`, or to none when the request could not be parsed: its head with a body
    /// that is not too long, and else the body by itself.
    ///
    /// `date` is an IMF-fixdate, see `HTTPDate`. A response to HEAD has the length that GET would have and no body;
    /// 1xx, 204 and 304 have neither.
    public static func encode(
        _ response: Response,
        to method: Method?,
        keepsConnection: Bool,
        version: HTTPVersion,
        date: String?
    ) -> (head: [UInt8], body: [UInt8]) {
        var bytes: [UInt8] = []
        let hasContent = response.status.allowsContent && method != .head
        let isJoined = hasContent && response.body.count <= joinedBodyBytesLimit
        bytes.reserveCapacity(headCapacity + (isJoined ? response.body.count : 0))
        appendStatusLine(response.status, date: date, to: &bytes)
        if response.status.allowsContent {
            appendField("Content-Length", String(response.body.count), to: &bytes)
        }
        appendConnection(keepsConnection: keepsConnection, version: version, to: &bytes)
        appendFields(response.fields, to: &bytes)
        if isJoined { bytes += response.body }
        return (bytes, hasContent && !isJoined ? response.body : [])
    }

    /// The head of a response whose length is not known: what follows are `chunk`s and `lastChunk` in HTTP/1.1, plain
    /// bytes up to the end of the connection in HTTP/1.0, and nothing for HEAD.
    ///
    /// Precondition: the status allows content, and in HTTP/1.0 the connection is not kept.
    public static func encodeStreamHead(
        status: StatusCode,
        fields: Fields,
        keepsConnection: Bool,
        version: HTTPVersion,
        date: String?
    ) -> [UInt8] {
        precondition(status.allowsContent, "a response without content cannot be streamed")
        precondition(version == .http11 || !keepsConnection, "only the end of the connection ends an HTTP/1.0 stream")
        var bytes: [UInt8] = []
        appendStatusLine(status, date: date, to: &bytes)
        if version == .http11 {
            appendField("Transfer-Encoding", "chunked", to: &bytes)
        }
        appendConnection(keepsConnection: keepsConnection, version: version, to: &bytes)
        appendFields(fields, to: &bytes)
        return bytes
    }

    /// One piece of a streamed response in HTTP/1.1. Nothing for no bytes, since an empty chunk would end the stream.
    public static func chunk(_ data: [UInt8]) -> [UInt8] {
        guard !data.isEmpty else { return [] }
        return Array(String(data.count, radix: 16).utf8) + "\r\n".utf8 + data + "\r\n".utf8
    }

    /// RFC 9110 §2.5: the version of a response is the highest that the server speaks, also to an HTTP/1.0 client.
    private static func appendStatusLine(_ status: StatusCode, date: String?, to bytes: inout [UInt8]) {
        bytes += "HTTP/1.1 ".utf8
        bytes += [UInt8(ascii: "0") + UInt8(status.code / 100), UInt8(ascii: "0") + UInt8(status.code / 10 % 10)]
        bytes += [UInt8(ascii: "0") + UInt8(status.code % 10), .space]
        bytes += status.reasonPhrase.utf8
        appendLineEnd(to: &bytes)
        if let date {
            appendField("Date", date, to: &bytes)
        }
    }

    /// RFC 9112 §9.3: HTTP/1.1 keeps the connection unless told otherwise, HTTP/1.0 closes it unless told otherwise.
    private static func appendConnection(keepsConnection: Bool, version: HTTPVersion, to bytes: inout [UInt8]) {
        if !keepsConnection {
            appendField("Connection", "close", to: &bytes)
        } else if version == .http10 {
            appendField("Connection", "keep-alive", to: &bytes)
        }
    }

    private static func appendFields(_ fields: Fields, to bytes: inout [UInt8]) {
        for (name, value) in fields {
            assert(!name.isEmpty && name.utf8.allSatisfy(\.isTokenCharacter), "a field name is a token")
            assert(!isOwnField(name), "the encoder writes this field itself")
            let valueBytes = value.utf8Span.span
            for index in valueBytes.indices {
                let byte = valueBytes[index]
                precondition(
                    byte != .carriageReturn && byte != .lineFeed && byte != 0,
                    "a field value holds no CR, LF or NUL"
                )
            }
            appendField(name, value, to: &bytes)
        }
        appendLineEnd(to: &bytes)
    }

    private static func appendLineEnd(to bytes: inout [UInt8]) {
        bytes.append(.carriageReturn)
        bytes.append(.lineFeed)
    }

    private static func isOwnField(_ name: String) -> Bool {
        ["Content-Length", "Transfer-Encoding", "Connection", "Date"].contains { equalIgnoringCase($0, name) }
    }

    private static func appendField(_ name: String, _ value: String, to bytes: inout [UInt8]) {
        bytes += name.utf8
        bytes.append(UInt8(ascii: ":"))
        bytes.append(.space)
        bytes += value.utf8
        appendLineEnd(to: &bytes)
    }
}
