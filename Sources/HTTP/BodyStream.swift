/// The body of a response that is made while it is sent, for as long as the reader stays.
public struct BodyStream: Sendable {
    /// Writes the body piece by piece and returns at its end. Its task is cancelled when nobody wants more of it: the
    /// reader has gone or the server stops. What it waits for has to take notice. Throwing ends the body before it is
    /// complete, and tells the reader so.
    public let produce: @Sendable (any BodyWriter) async throws(BodyStreamClosed) -> Void

    public init(_ produce: @escaping @Sendable (any BodyWriter) async throws(BodyStreamClosed) -> Void) {
        self.produce = produce
    }
}

/// Takes the body of a streamed response.
public protocol BodyWriter: Sendable {
    /// Sends a piece and waits until the kernel has taken all of it: a reader that is slow slows its own stream down,
    /// and what it costs is one piece. Throws when the reader has gone.
    func write(_ bytes: [UInt8]) async throws(BodyStreamClosed)
}

/// Nobody reads the stream any more.
public struct BodyStreamClosed: Error, Equatable {
    public init() {}
}
