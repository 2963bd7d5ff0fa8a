internal import Services
internal import Systemd

/// Wakes requests that wait for a change of a service.
@EventLoopActor
final class Changes {
    private var waiting: [ServiceName: [Promise<Void>]] = [:]

    /// Waits for the next change of a service, at most for `duration`.
    func next(of name: ServiceName, within duration: Duration) async {
        let promise = Promise<Void>()
        waiting[name, default: []].append(promise)
        _ = await promise.wait(atMost: duration)
        waiting[name]?.removeAll { $0 === promise }
    }

    func tell(_ name: ServiceName) {
        for promise in waiting.removeValue(forKey: name) ?? [] { promise.fulfil() }
    }
}
