/// A value that is set once. Any number of tasks can wait for it.
@EventLoopActor
public final class Promise<Value: Sendable> {
    /// Nil until it is set.
    public private(set) var value: Value?
    private var waiting: [Wait<Value>] = []

    public init() {}

    /// Sets the value and resumes the waiting tasks in the order of their calls. Only the first call has an effect.
    public func fulfil(_ value: Value) {
        guard self.value == nil else { return }
        self.value = value
        let waiting = waiting
        self.waiting = []
        for wait in waiting { wait.end(value) }
    }

    /// Waits for the value, without a limit.
    public func wait() async -> Value {
        if let value { return value }
        // Without time-out and cancellation the wait ends only with a value.
        while true {
            if let value = await wait(atMost: nil, endsWithTask: false) { return value }
        }
    }

    /// Waits for the value; nil when `duration` is over, or the task is cancelled, before it is set.
    public func wait(atMost duration: Duration) async -> Value? {
        if let value { return value }
        return await wait(atMost: duration, endsWithTask: true)
    }

    private func wait(atMost duration: Duration?, endsWithTask: Bool) async -> Value? {
        let wait = Wait<Value>()
        waiting.append(wait)
        defer { waiting.removeAll { $0 === wait } }
        // Without memory for a timer the wait has no time-out.
        let timer = duration.flatMap { _ in try? Timer { [weak wait] in wait?.end(nil) } }
        if let duration { timer?.arm(after: duration) }
        defer { timer?.cancel() }
        guard endsWithTask else { return await wait.result() }
        return await withTaskCancellationHandler {
            await wait.result()
        } onCancel: {
            EventLoop.start { wait.end(nil) }
        }
    }
}

extension Promise where Value == Void {
    /// Ends the waits.
    public func fulfil() { fulfil(()) }
}

/// One wait for a promise.
@EventLoopActor
private final class Wait<Value: Sendable> {
    private var continuation: CheckedContinuation<Value?, Never>?
    private var ended: Value??

    func result() async -> Value? {
        if let ended { return ended }
        return await withCheckedContinuation { continuation = $0 }
    }

    func end(_ value: Value?) {
        guard ended == nil else { return }
        ended = .some(value)
        continuation?.resume(returning: value)
        continuation = nil
    }
}
