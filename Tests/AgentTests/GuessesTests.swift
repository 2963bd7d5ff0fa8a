import Systemd
import TestSupport
import Testing

@testable import miosa_agent

@Suite(.onEventLoop, .hangLimit)
struct GuessesTests {
    @Test @EventLoopActor func `each wrong token makes the answer to the next one slower, up to a limit`() {
        let guesses = Guesses()
        let now = MonotonicClock.now()
        #expect(guesses.delay(at: now) == .zero)
        #expect(guesses.delay(at: now) == Guesses.step)
        var last = Duration.zero
        for _ in 0..<100 { last = guesses.delay(at: now) }
        #expect(last < Guesses.longest)
        #expect(last >= Guesses.longest - Guesses.step)
    }

    @Test @EventLoopActor func `what is long ago is forgotten`() {
        let guesses = Guesses()
        let now = MonotonicClock.now()
        for _ in 0..<10 { _ = guesses.delay(at: now) }
        #expect(guesses.delay(at: now.advanced(by: Guesses.memory - .nanoseconds(1))) == Guesses.step * 10)
        #expect(guesses.delay(at: now.advanced(by: Guesses.memory)) == Guesses.step)
    }
}
