internal import Services
internal import Systemd

/// One reader of the events.
@EventLoopActor
final class EventReader {
    private enum State {
        /// What the reader knows is too old to go on from.
        case gap
        /// The reader knows nothing.
        case new
        /// The event that the reader gets next.
        case following(Int)
        case ended
    }

    private let supervisor: Supervisor
    private let stream: OpenStreams.Stream
    private var state: State
    let bootID: String
    /// The event that came next when the reader did. What was before is kept for those who come back, and is not what
    /// they are behind.
    private let firstSequence: Int

    /// So many bytes of events at a time: what a reader costs that has stopped reading.
    private static let bytesAtATime = 64 * 1024

    init(_ supervisor: Supervisor, _ stream: OpenStreams.Stream, after position: EventPosition?) {
        self.supervisor = supervisor
        self.stream = stream
        bootID = supervisor.bootID
        firstSequence = supervisor.events.nextSequence
        guard let position else {
            state = .new
            return
        }
        let next = position.sequence.addingReportingOverflow(1)
        let isKnown =
            position.bootID == supervisor.bootID && !next.overflow
            && supervisor.events.events(from: next.partialValue, bytes: 0) != nil
        state = isKnown ? .following(next.partialValue) : .gap
    }

    func next() async -> EventPiece {
        while !Task.isCancelled {
            switch state {
            case .gap:
                state = .new
                return .gap
            case .new:
                let next = supervisor.events.nextSequence
                state = .following(next)
                let services = supervisor.services.values.map(\.told).sorted { $0.name < $1.name }
                let now = Timestamp(microseconds: WallClock.now().microseconds)
                return .snapshot(services, sequence: next - 1, at: now)
            case .following(let sequence):
                guard let events = supervisor.events.events(from: sequence, bytes: Self.bytesAtATime),
                    supervisor.events.byteCount(from: max(sequence, firstSequence)) <= StreamLimits.readerLagBytesLimit
                else {
                    state = .ended
                    return .tooSlow
                }
                guard events.isEmpty else {
                    state = .following(sequence + events.count)
                    return .events(events)
                }
                await supervisor.events.nextEvent(within: StreamLimits.quietTime)
                if supervisor.events.nextSequence == sequence, !Task.isCancelled { return .quiet }
            case .ended: return .end
            }
        }
        return .end
    }
}

extension EventReader: EventReading {}

extension ManagedService {
    /// What a reader has to know before the next event.
    fileprivate var told: Service { (announced ?? snapshot).withoutEnvironment() }
}
