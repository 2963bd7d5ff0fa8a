internal import Services
internal import Systemd

/// The reader of one event stream.
@EventLoopActor
final class EventReader {
    private enum State {
        /// The event after the reader's position is not kept any more.
        case gap
        /// The reader has no position.
        case new
        /// The sequence number of the reader's next event.
        case following(Int)
        case ended
    }

    private let supervisor: Supervisor
    private let stream: OpenStreams.Stream
    private var state: State
    let bootID: String
    /// The next sequence number when the reader connected. Earlier events, kept for reconnecting readers, do not count
    /// towards its lag.
    private let firstSequence: Int

    /// The size of one batch of events: the memory that a stalled reader needs.
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
    /// The state that a reader must have before the next event.
    fileprivate var told: Service { (announced ?? snapshot).withoutEnvironment() }
}
