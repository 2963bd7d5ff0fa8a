internal import Services
internal import Systemd

/// The newest events, for connected readers and for those that reconnect.
@EventLoopActor
final class EventLog {
    private struct Kept {
        let event: ServiceEvent
        /// The size of all events up to and including this one.
        let bytesBehind: Int
    }

    /// Nil before `oldest`: events that are dropped need no memory.
    private var kept: [Kept?] = []
    /// The index of the oldest event in `kept`. The entries before it are removed many at a time.
    private var oldest = 0
    private var waiting: [Promise<Void>] = []

    /// The sequence number of the next event. It begins with the microseconds since boot, which are more than the
    /// events of an earlier process of the agent can have been.
    private(set) var nextSequence = Int(MonotonicClock.sinceBoot() / .microseconds(1))

    /// The sequence number of the oldest kept event; that of the next one if none is kept.
    var firstSequence: Int { nextSequence - (kept.count - oldest) }

    func append(
        _ kind: ServiceEvent.Kind,
        _ previousStatus: ServiceStatus?,
        _ service: Service,
        _ run: EndedRun? = nil
    ) {
        let event = ServiceEvent(
            sequence: nextSequence,
            at: Timestamp(microseconds: WallClock.now().microseconds),
            kind: kind,
            previousStatus: previousStatus,
            service: service.withoutEnvironment(),
            run: run
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

    /// The events from a sequence number on; all but the first fit into `bytes`. Nil when that event is not kept any
    /// more, or does not exist.
    func events(from sequence: Int, bytes: Int) -> [ServiceEvent]? {
        guard (firstSequence...nextSequence).contains(sequence) else { return nil }
        let wanted = kept.dropFirst(oldest + sequence - firstSequence).lazy.compactMap { $0 }
        guard let first = wanted.first else { return [] }
        let limit = first.bytesBehind - first.event.byteCount + bytes
        return [first.event] + wanted.dropFirst().prefix { $0.bytesBehind <= limit }.map(\.event)
    }

    /// The size of all events from a kept sequence number on.
    func byteCount(from sequence: Int) -> Int {
        let index = oldest + sequence - firstSequence
        guard index < kept.count, let first = kept[index] else { return 0 }
        return bytesBehind - first.bytesBehind + first.event.byteCount
    }

    /// Waits for the next event, at most for `duration` or until the task is cancelled.
    func nextEvent(within duration: Duration) async {
        let waiter = Promise<Void>()
        waiting.append(waiter)
        _ = await waiter.wait(atMost: duration)
        waiting.removeAll { $0 === waiter }
    }

    private var bytesBehind: Int { kept.last??.bytesBehind ?? 0 }

    private var byteCount: Int { byteCount(from: firstSequence) }
}
