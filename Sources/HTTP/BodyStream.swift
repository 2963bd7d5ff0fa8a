/// The body of a streamed response: it is produced while it is sent, until the client disconnects.
public struct BodyStream: Sendable {
    /// Writes the body piece by piece and returns at its end. Its task is cancelled when the client disconnects or the
    /// server stops; every wait in it must react to cancellation. Throwing ends the body without the last chunk, so
    /// that the client sees that it is incomplete.
    public let produce: @Sendable (any BodyWriter) async throws(BodyStreamClosed) -> Void

    public init(_ produce: @escaping @Sendable (any BodyWriter) async throws(BodyStreamClosed) -> Void) {
        self.produce = produce
    }
}

/// Takes the body of a streamed response.
public protocol BodyWriter: Sendable {
    /// Sends a piece and waits until the kernel has taken all of it: a slow client delays only its own stream, and
    /// needs memory for one piece. Throws when the client has disconnected.
    func write(_ bytes: [UInt8]) async throws(BodyStreamClosed)
}

/// The client of the stream has disconnected.
public struct BodyStreamClosed: Error, Equatable {
    public init() {}
}
