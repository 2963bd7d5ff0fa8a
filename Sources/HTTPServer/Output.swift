/// The output buffer of a connection.
struct Output {
    /// The piece that is being sent, and the one after it.
    private var piece: [UInt8] = []
    private var rest: [UInt8] = []
    /// The number of bytes of the piece that have been sent.
    private var sent = 0

    var isEmpty: Bool { piece.isEmpty }

    /// The size in memory: the unsent bytes, and the sent bytes of the same piece.
    var heldByteCount: Int { piece.count + rest.count }

    mutating func append(_ bytes: [UInt8]) {
        if piece.isEmpty {
            piece = bytes
        } else if rest.isEmpty {
            rest = bytes
        } else {
            rest += bytes
        }
    }

    /// The next bytes to send: a piece from an offset on, and whether it is the last one.
    var next: (piece: [UInt8], offset: Int, isLast: Bool)? {
        piece.isEmpty ? nil : (piece, sent, rest.isEmpty)
    }

    /// Marks `count` more bytes of the piece as sent.
    mutating func advance(by count: Int) {
        sent += count
        guard sent == piece.count else { return }
        piece = rest
        rest = []
        sent = 0
    }
}
