internal import Services
internal import Systemd

/// Counts the open streams.
@EventLoopActor
final class OpenStreams {
    enum Kind {
        case log
        case events
    }

    private let limit: Int
    private var counts: [Kind: Int] = [:]

    init(limit: Int = StreamLimits.streamsLimit) { self.limit = limit }

    typealias Stream = OpenStream

    func count(of kind: Kind) -> Int { counts[kind, default: 0] }

    func open(_ kind: Kind) throws(ControlError) -> Stream {
        guard counts.values.reduce(0, +) < limit else { throw .tooManyStreams(limit: limit) }
        counts[kind, default: 0] += 1
        return Stream(self, kind)
    }

    fileprivate func close(_ kind: Kind) { counts[kind, default: 0] -= 1 }
}

/// A stream that is open as long as this object exists.
@EventLoopActor
final class OpenStream {
    private let streams: OpenStreams
    private let kind: OpenStreams.Kind

    fileprivate init(_ streams: OpenStreams, _ kind: OpenStreams.Kind) {
        self.streams = streams
        self.kind = kind
    }

    isolated deinit { streams.close(kind) }
}
