internal import Systemd

/// Whether the states of the units are known: systemd is connected, and all states have been read.
@EventLoopActor
final class Connectivity {
    /// Why the states are not known; nil while they are.
    private(set) var outage: String? = "the agent is starting"
    /// Whether they have been known once.
    private(set) var hasBeenReady = false
    private var waiting: [Promise<Void>] = []

    var isReady: Bool { outage == nil }

    func lose(_ reason: String) { outage = reason }

    /// The states are known; ``complete()`` follows when their events are in the event log.
    func establish() { outage = nil }

    /// Wakes the requests that wait.
    func complete() {
        hasBeenReady = true
        for promise in waiting { promise.fulfil() }
        waiting = []
    }

    /// Waits until the states of all services are known, at most for `duration`.
    func wait(atMost duration: Duration) async {
        let promise = Promise<Void>()
        waiting.append(promise)
        _ = await promise.wait(atMost: duration)
        waiting.removeAll { $0 === promise }
    }
}
