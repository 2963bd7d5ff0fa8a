internal import Services
internal import Systemd

/// The newest events, for those who read them now and those who come back.
@EventLoopActor
final class EventLog {
    private struct Kept {
        let event: ServiceEvent
        /// The bytes of all events up to and with this one.
        let bytesBehind: Int
    }

    /// Nil in front of `oldest`: what is not kept any more takes no memory.
    private var kept: [Kept?] = []
    /// Where in `kept` the oldest is: the places before it are emptied many at a time.
    private var oldest = 0
    private var waiting: [Promise<Void>] = []

    /// The event that comes next. An agent that is started anew goes on with a number that no earlier one can have
    /// come to in this boot: there are not as many events as microseconds.
    private(set) var nextSequence = Int(MonotonicClock.sinceBoot() / .microseconds(1))

    /// The first event that is still known; the next one where none is.
    var firstSequence: Int { nextSequence - (kept.count - oldest) }

    func append(_ kind: ServiceEvent.Kind, _ previousStatus: ServiceStatus?, _ service: Service) {
        let event = ServiceEvent(
            sequence: nextSequence,
            at: Timestamp(microseconds: WallClock.now().microseconds),
            kind: kind,
            previousStatus: previousStatus,
            service: service.withoutEnvironment()
        )
        nextSequence += 1
        kept.append(Kept(event: event, bytesBehind: bytesBehind + event.byteCount))
        while kept.count - oldest > StreamLimits.eventsLimit || byteCount > StreamLimits.eventsBytesLimit {
            kept[oldest] = nil
            oldest += 1
        }
        if oldest > StreamLimits.eventsLimit / 4 {
            kept.removeFirst(oldest)
            oldest = 0
        }
        for waiter in waiting { waiter.fulfil() }
        waiting = []
    }

    /// The events from one on, of which all but the first are within so many bytes; nil when that one is not known any
    /// more, or was never made.
    func events(from sequence: Int, bytes: Int) -> [ServiceEvent]? {
        guard (firstSequence...nextSequence).contains(sequence) else { return nil }
        let wanted = kept.dropFirst(oldest + sequence - firstSequence).lazy.compactMap { $0 }
        guard let first = wanted.first else { return [] }
        let limit = first.bytesBehind - first.event.byteCount + bytes
        return [first.event] + wanted.dropFirst().prefix { $0.bytesBehind <= limit }.map(\.event)
    }

    /// The bytes of all events from one on that is known.
    func byteCount(from sequence: Int) -> Int {
        let index = oldest + sequence - firstSequence
        guard index < kept.count, let first = kept[index] else { return 0 }
        return bytesBehind - first.bytesBehind + first.event.byteCount
    }

    /// Waits for the next event, until the time is over or the task is cancelled.
    func nextEvent(within duration: Duration) async {
        let waiter = Promise<Void>()
        waiting.append(waiter)
        _ = await waiter.wait(atMost: duration)
        waiting.removeAll { $0 === waiter }
    }

    private var bytesBehind: Int { kept.last??.bytesBehind ?? 0 }

    private var byteCount: Int { byteCount(from: firstSequence) }
}
