import Systemd
import TestSupport
import Testing

@testable import miosa_agent

@Suite(.onEventLoop, .hangLimit)
struct GuessesTests {
    private let account = Guesses.Source.account(1000)

    @Test @EventLoopActor func `each wrong token makes the next request of its source wait longer, up to a limit`() {
        let guesses = Guesses()
        let now = MonotonicClock.now()
        #expect(!guesses.areUnderWay(at: now))
        #expect(guesses.wait(of: account, at: now) == .zero)
        for count in 1...3 {
            guesses.note(account, at: now)
            #expect(guesses.wait(of: account, at: now) == Guesses.step * count)
        }
        for _ in 0..<100 { guesses.note(account, at: now) }
        #expect(guesses.wait(of: account, at: now) == Guesses.longest)
    }

    @Test(arguments: [Guesses.Source.account(1001), .account(0), .network([127, 0, 0, 1]), .unknown])
    @EventLoopActor func `other sources do not wait`(other: Guesses.Source) {
        let guesses = Guesses()
        let now = MonotonicClock.now()
        for _ in 0..<10 { guesses.note(account, at: now) }
        #expect(guesses.areUnderWay(at: now))
        #expect(guesses.wait(of: other, at: now) == .zero)
    }

    @Test @EventLoopActor func `what is long ago is forgotten`() {
        let guesses = Guesses()
        let now = MonotonicClock.now()
        for _ in 0..<10 { guesses.note(account, at: now) }
        let before = now.advanced(by: Guesses.memory - .nanoseconds(1))
        #expect(guesses.wait(of: account, at: before) == Guesses.step * 10)
        #expect(guesses.wait(of: account, at: now.advanced(by: Guesses.memory)) == .zero)
        #expect(!guesses.areUnderWay(at: now.advanced(by: Guesses.memory)))
    }

    @Test @EventLoopActor func `the newest sources are counted, and no more than the limit`() {
        let guesses = Guesses()
        let now = MonotonicClock.now()
        func note(_ number: Int) {
            guesses.note(.account(UInt32(number)), at: now.advanced(by: .milliseconds(number)))
        }
        func wait(_ number: Int) -> Duration {
            guesses.wait(of: .account(UInt32(number)), at: now.advanced(by: .seconds(2)))
        }
        for number in 0..<Guesses.sourcesLimit { note(number) }
        #expect(wait(0) == Guesses.step)
        note(Guesses.sourcesLimit)
        #expect(wait(0) == .zero)
        for number in [1, Guesses.sourcesLimit - 1, Guesses.sourcesLimit] { #expect(wait(number) == Guesses.step) }
    }
}
