import HTTP
import Testing

/// `messageTable`, whole and byte by byte.
@Suite struct MessageTests {
    private func check(_ pieces: [[UInt8]], _ example: MessageCase) {
        let outcome = Outcome(pieces, limits: example.limits)
        let found = MessageCase.Expectation(
            requests: outcome.requests.map(MessageCase.describe),
            status: outcome.status,
            isWaiting: outcome.isInsideRequest
        )
        #expect(found == example.expectation)
    }

    @Test(arguments: messageTable)
    func `a message comes out as the table says`(_ example: MessageCase) {
        check([example.input], example)
    }

    @Test(arguments: messageTable)
    func `a message that arrives byte by byte comes out the same`(_ example: MessageCase) {
        check(example.input.map { [$0] }, example)
        let whole = Outcome([example.input], limits: example.limits)
        #expect(Outcome(example.input.map { [$0] }, limits: example.limits) == whole)
    }

    @Test(arguments: messageTable)
    func `a message that comes again comes out the same`(_ example: MessageCase) {
        let once = Outcome([example.input], limits: example.limits)
        guard once.failure == nil, !once.isInsideRequest, once.requests.allSatisfy(\.head.keepsConnection)
        else { return }
        for pieces in [[example.input, example.input], [example.input + example.input]] {
            #expect(Outcome(pieces, limits: example.limits).events == once.events + once.events)
        }
        #expect(Outcome([example.input] + example.input.map { [$0] }).events == once.events + once.events)
    }

    @Test func `no message stands twice in the tables`() {
        struct Key: Hashable {
            let input: [UInt8]
            let limits: Limits
        }
        let keys =
            messageTable.map { Key(input: $0.input, limits: $0.limits) }
            + strictnessTable.map { Key(input: $0.input, limits: Limits()) }
        var seen: Set<Key> = []
        for key in keys {
            #expect(seen.insert(key).inserted, "\(String(decoding: key.input, as: UTF8.self).debugDescription)")
        }
    }
}
