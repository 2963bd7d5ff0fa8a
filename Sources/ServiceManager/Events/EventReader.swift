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

    private let announcements: Announcements
    private let stream: OpenStreams.Stream
    private var state: State
    let bootID: String
    /// The next sequence number when the reader connected. Earlier events, kept for reconnecting readers, do not count
    /// towards its lag.
    private let firstSequence: Int

    /// The size of one batch of events: the memory that a stalled reader needs.
    private static let bytesAtATime = 64 * 1024

    init(
        _ announcements: Announcements,
        bootID: String,
        _ stream: OpenStreams.Stream,
        after position: EventPosition?
    ) {
        self.announcements = announcements
        self.stream = stream
        self.bootID = bootID
        firstSequence = announcements.log.nextSequence
        guard let position else {
            state = .new
            return
        }
        let next = position.sequence.addingReportingOverflow(1)
        let isKnown =
            position.bootID == bootID && !next.overflow
            && announcements.log.events(from: next.partialValue, bytes: 0) != nil
        state = isKnown ? .following(next.partialValue) : .gap
    }

    func next() async -> EventPiece {
        while !Task.isCancelled {
            switch state {
            case .gap:
                state = .new
                return .gap
            case .new:
                let next = announcements.log.nextSequence
                state = .following(next)
                let now = Timestamp(microseconds: WallClock.now().microseconds)
                return .snapshot(announcements.snapshot, sequence: next - 1, at: now)
            case .following(let sequence):
                guard let events = announcements.log.events(from: sequence, bytes: Self.bytesAtATime),
                    announcements.log.byteCount(from: max(sequence, firstSequence)) <= StreamLimits.readerLagBytesLimit
                else {
                    state = .ended
                    return .tooSlow
                }
                guard events.isEmpty else {
                    state = .following(sequence + events.count)
                    return .events(events)
                }
                await announcements.log.nextEvent(within: StreamLimits.quietTime)
                if announcements.log.nextSequence == sequence, !Task.isCancelled { return .quiet }
            case .ended: return .end
            }
        }
        return .end
    }
}

extension EventReader: EventReading {}
