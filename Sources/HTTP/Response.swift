/// A response with its whole body in memory. `ResponseEncoder` adds what frames it.
public struct Response: Hashable, Sendable {
    public var status: StatusCode
    /// Without Content-Length, Transfer-Encoding, Connection and Date, which are the encoder's.
    public var fields: Fields
    public var body: [UInt8]

    /// A response without a body unless one is given.
    public init(status: StatusCode, fields: Fields = Fields(), body: [UInt8] = []) {
        self.status = status
        self.fields = fields
        self.body = body
    }

    /// A response whose body is of the given media type.
    public init(status: StatusCode, contentType: String, body: [UInt8]) {
        self.init(status: status, fields: ["Content-Type": contentType], body: body)
    }

    /// A response whose body is `text` in UTF-8, plain unless said otherwise.
    public init(status: StatusCode, contentType: String = "text/plain; charset=utf-8", text: String) {
        self.init(status: status, contentType: contentType, body: Array(text.utf8))
    }
}
