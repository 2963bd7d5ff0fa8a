import HTTP
import TestSupport
import Testing

@Suite struct StrictnessTests {
    @Test(arguments: strictnessTable)
    func `a request is refused or accepted as the rule says`(_ example: StrictnessCase) {
        let outcome = Outcome([example.input])
        switch example.expectation {
        case .refused(let status):
            #expect(outcome.status == status)
            #expect(outcome.failure?.reason.isEmpty == false)
        case .accepted(let bodies):
            #expect(outcome.failure == nil)
            #expect(outcome.bodies == bodies)
            #expect(outcome.heads == outcome.requests.map(\.head))
        }
    }

    @Test(arguments: strictnessTable)
    func `a request cut in two at any byte has the same outcome`(_ example: StrictnessCase) {
        let whole = Outcome([example.input])
        for cut in 1..<example.input.count {
            let outcome = Outcome([Array(example.input[..<cut]), Array(example.input[cut...])])
            #expect(outcome == whole, "cut at \(cut)")
        }
    }

    @Test(arguments: strictnessTable)
    func `a request that arrives byte by byte has the same outcome`(_ example: StrictnessCase) {
        #expect(Outcome(example.input.map { [$0] }) == Outcome([example.input]))
    }

    @Test func `no case stands twice in the table`() {
        #expect(Set(strictnessTable.map(\.input)).count == strictnessTable.count)
    }

    @Test(arguments: 0..<16)
    func `random damage to a request has the same outcome however it is cut`(seed: UInt64) {
        var random = SplitMix64(state: seed)
        for _ in 0..<64 {
            var input = strictnessTable.randomElement(using: &random)?.input ?? []
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: 0..<input.count, using: &random)
                switch UInt8.random(in: 0...3, using: &random) {
                case 0: input[place] = UInt8.random(in: 0...255, using: &random)
                case 1: input.insert(contentsOf: [0x0D, 0x0A].shuffled(using: &random), at: place)
                case 2: input.insert(Array(" \t:;,%0".utf8).randomElement(using: &random) ?? 0, at: place)
                default: if input.count > 1 { input.remove(at: place) }
                }
            }
            let cut = Int.random(in: 0...input.count, using: &random)
            let whole = Outcome([input])
            #expect(Outcome([Array(input[..<cut]), Array(input[cut...])]) == whole)
            #expect(Outcome(input.map { [$0] }) == whole)
        }
    }
}
