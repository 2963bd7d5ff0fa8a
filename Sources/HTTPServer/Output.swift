/// What is on its way to the peer.
struct Output {
    /// What is being sent, and what follows it.
    private var piece: [UInt8] = []
    private var rest: [UInt8] = []
    /// How much of the piece has been sent.
    private var sent = 0

    var isEmpty: Bool { piece.isEmpty }

    /// What is held in memory: the bytes that have yet to be sent, and those before them in the same piece.
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

    /// What is to be sent next: a piece from an offset on, and whether there is more behind it.
    var next: (piece: [UInt8], offset: Int, isLast: Bool)? {
        piece.isEmpty ? nil : (piece, sent, rest.isEmpty)
    }

    /// Takes note that so many bytes of the piece have been sent.
    mutating func advance(by count: Int) {
        sent += count
        guard sent == piece.count else { return }
        piece = rest
        rest = []
        sent = 0
    }
}
