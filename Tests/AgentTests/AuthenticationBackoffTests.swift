import Systemd
import TestSupport
import Testing

@testable import miosa_agent

@Suite(.onEventLoop, .hangLimit)
struct AuthenticationBackoffTests {
    @Test @EventLoopActor func `each wrong token makes the answer to the next one slower, up to a limit`() {
        let backoff = AuthenticationBackoff()
        let now = MonotonicClock.now()
        #expect(backoff.delay(at: now) == .zero)
        #expect(backoff.delay(at: now) == AuthenticationBackoff.step)
        var last = Duration.zero
        for _ in 0..<100 { last = backoff.delay(at: now) }
        #expect(last < AuthenticationBackoff.longest)
        #expect(last >= AuthenticationBackoff.longest - AuthenticationBackoff.step)
    }

    @Test @EventLoopActor func `what is long ago is forgotten`() {
        let backoff = AuthenticationBackoff()
        let now = MonotonicClock.now()
        for _ in 0..<10 { _ = backoff.delay(at: now) }
        #expect(
            backoff.delay(at: now.advanced(by: AuthenticationBackoff.memory - .nanoseconds(1))) == AuthenticationBackoff
                .step * 10
        )
        #expect(backoff.delay(at: now.advanced(by: AuthenticationBackoff.memory)) == AuthenticationBackoff.step)
    }
}
