/// Received bytes that are not consumed yet. Index 0 is the first of them.
///
/// Consuming moves an index; the bytes behind it are dropped once they are the larger part, so that each byte is moved
/// at most once on average. A buffer that runs empty gives its memory back: an idle connection has none.
struct ReceiveBuffer: Sendable {
    /// Below this, dropping consumed bytes is not worth a move.
    private static let compactionBytes = 4 * 1024

    private var bytes: [UInt8] = []
    private var consumed = 0
    /// How many bytes compaction has moved: shows that the cost is linear.
    private(set) var movedByteCount = 0

    var count: Int { bytes.count - consumed }
    var capacity: Int { bytes.capacity }
    var isEmpty: Bool { count == 0 }

    subscript(offset: Int) -> UInt8 { bytes[consumed + offset] }

    func prefix(_ count: Int) -> ArraySlice<UInt8> {
        bytes[consumed..<consumed + count]
    }

    /// The bytes that were consumed last, as long as they have not been dropped.
    func lastConsumed(_ count: Int) -> ArraySlice<UInt8>? {
        count <= consumed ? bytes[consumed - count..<consumed] : nil
    }

    func starts(with expected: ArraySlice<UInt8>) -> Bool {
        count >= expected.count && bytes[consumed..<consumed + expected.count] == expected
    }

    mutating func append(_ received: ArraySlice<UInt8>) {
        if bytes.isEmpty { bytes.reserveCapacity(received.count) }
        bytes.append(contentsOf: received)
    }

    mutating func consume(_ consumedCount: Int) {
        precondition(consumedCount <= count, "consumed more than was received")
        consumed += consumedCount
        if consumed == bytes.count {
            removeAll()
        } else if consumed >= Self.compactionBytes, consumed > bytes.count / 2 {
            movedByteCount += count
            bytes.removeSubrange(..<consumed)
            consumed = 0
        }
    }

    mutating func removeAll() {
        bytes = []
        consumed = 0
    }
}
