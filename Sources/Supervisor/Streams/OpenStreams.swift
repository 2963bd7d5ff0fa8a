internal import Services
internal import Systemd

/// Counts the streams that are open.
@EventLoopActor
final class OpenStreams {
    enum Kind {
        case log
        case events
    }

    private var counts: [Kind: Int] = [:]

    /// One that is open as long as this object exists.
    @EventLoopActor
    final class Stream {
        private let streams: OpenStreams
        private let kind: Kind

        fileprivate init(_ streams: OpenStreams, _ kind: Kind) {
            self.streams = streams
            self.kind = kind
            streams.counts[kind, default: 0] += 1
        }

        isolated deinit { streams.counts[kind, default: 0] -= 1 }
    }

    func count(of kind: Kind) -> Int { counts[kind, default: 0] }

    func open(_ kind: Kind) throws(ControlError) -> Stream {
        guard counts.values.reduce(0, +) < StreamLimits.streamsLimit else {
            throw .tooManyStreams(limit: StreamLimits.streamsLimit)
        }
        return Stream(self, kind)
    }
}
