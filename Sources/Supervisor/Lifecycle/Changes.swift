internal import Services
internal import Systemd

/// Wakes those who wait for a service to change, or for the picture of all of them to be complete.
@EventLoopActor
final class Changes {
    private var waiting: [ServiceName: [Promise<Void>]] = [:]
    private var waitingForReadiness: [Promise<Void>] = []

    /// Waits until systemd says something about a service, or until the time is over.
    func next(of name: ServiceName, within duration: Duration) async {
        let promise = Promise<Void>()
        waiting[name, default: []].append(promise)
        _ = await promise.wait(atMost: duration)
        waiting[name]?.removeAll { $0 === promise }
    }

    /// Waits until the picture is complete, or until the time is over.
    func nextReadiness(within duration: Duration) async {
        let promise = Promise<Void>()
        waitingForReadiness.append(promise)
        _ = await promise.wait(atMost: duration)
        waitingForReadiness.removeAll { $0 === promise }
    }

    func tell(_ name: ServiceName) {
        for promise in waiting.removeValue(forKey: name) ?? [] { promise.fulfil() }
    }

    func tellReadiness() {
        for promise in waitingForReadiness { promise.fulfil() }
        waitingForReadiness = []
    }
}
