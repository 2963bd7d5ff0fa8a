/// A request line and its header section, with what they say about connection and body.
public final class RequestHead: Sendable {
    public let method: Method
    public let target: RequestTarget
    public let version: HTTPVersion
    public let fields: Fields
    /// `host[:port]` the request is for: of an absolute-form target, else of the Host field. Nil only in HTTP/1.0.
    public let host: String?
    public let framing: BodyFraming
    /// Whether the client wants the connection kept after the response. RFC 9112 §9.3.
    public let keepsConnection: Bool
    /// Whether the client waits for a 100 response before it sends the body. RFC 9110 §10.1.1.
    public let expectsContinue: Bool

    /// Derives the rest from the parts and refuses what RFC 9112 tells a server to refuse: a Host field that is
    /// missing, repeated or invalid, ambiguous framing, an unknown expectation, a length above the limit.
    public init(
        method: Method,
        target: RequestTarget,
        version: HTTPVersion = .http11,
        fields: Fields,
        limits: Limits = Limits()
    ) throws(ParseFailure) {
        self.method = method
        self.target = target
        self.version = version
        self.fields = fields
        let hostField = try Self.hostField(version: version, fields: fields)
        host = target.authority ?? hostField
        framing = try BodyFraming(version: version, fields: fields, limits: limits)
        keepsConnection = Self.keepsConnection(version: version, fields: fields)
        let isContinueExpected = try Self.isContinueExpected(version: version, fields: fields)
        // RFC 9110 §10.1.1: nothing to wait for where there is no content.
        expectsContinue = isContinueExpected && framing != .none && framing != .length(0)
    }

    /// RFC 9112 §3.2: exactly one valid Host field; HTTP/1.0 may leave it out.
    private static func hostField(version: HTTPVersion, fields: Fields) throws(ParseFailure) -> String? {
        let hosts = fields.values(of: "Host")
        guard let host = hosts.first else {
            guard version == .http10 else { throw .badRequest("the Host field is missing") }
            return nil
        }
        guard hosts.count == 1 else { throw .badRequest("the Host field is repeated") }
        guard Host.isValid(Array(host.utf8)[...]) else { throw .badRequest("the Host field is invalid") }
        return host
    }

    /// RFC 9112 §9.3: `close` wins; HTTP/1.0 keeps the connection only when asked to.
    private static func keepsConnection(version: HTTPVersion, fields: Fields) -> Bool {
        var isKeepAlive = false
        for value in fields.values(of: "Connection") {
            // Byte by byte: to a Character, a comma with a combining mark behind it is something else.
            for option in value.utf8.split(whereSeparator: { ", \t".utf8.contains($0) }).map({ String(Substring($0)) })
            {
                if equalIgnoringCase(option, "close") { return false }
                if equalIgnoringCase(option, "keep-alive") { isKeepAlive = true }
            }
        }
        return version == .http11 || isKeepAlive
    }

    /// RFC 9110 §10.1.1: a list, of which 417 refuses any member but 100-continue; a server ignores Expect in HTTP/1.0.
    private static func isContinueExpected(version: HTTPVersion, fields: Fields) throws(ParseFailure) -> Bool {
        guard version == .http11, let value = fields["Expect"] else { return false }
        // RFC 9110 §5.6.1.2: empty members are ignored.
        let expectations = value.split(separator: ",").map { String(trimmingWhitespace($0)) }.filter { !$0.isEmpty }
        guard expectations.allSatisfy({ equalIgnoringCase($0, "100-continue") }) else {
            throw ParseFailure(status: .expectationFailed, reason: "the expectation is not 100-continue")
        }
        return !expectations.isEmpty
    }
}

extension RequestHead: Hashable {
    /// Everything else follows from these.
    public static func == (left: RequestHead, right: RequestHead) -> Bool {
        left === right
            || left.method == right.method && left.target == right.target && left.version == right.version
                && left.fields == right.fields && left.framing == right.framing
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(method)
        hasher.combine(target)
        hasher.combine(fields)
    }
}
