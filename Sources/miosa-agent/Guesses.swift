internal import HTTPServer
internal import Systemd

/// Slows down guessing of tokens: a request with a token waits ``step`` for each wrong token that its source has sent
/// within the last 10 s (``memory``). It waits before its token is looked at, so that the time of an answer does not
/// tell whether the token is right.
@EventLoopActor
final class Guesses {
    /// Where a token comes from.
    enum Source: Hashable {
        /// An account of this machine.
        case account(UInt32)
        /// A network: an IPv4 address, or the first 64 bits of an IPv6 address.
        case network([UInt8])
        case unknown
    }

    /// The wait for each wrong token.
    static let step = Duration.milliseconds(50)
    /// The limit of the wait.
    static let longest = Duration.seconds(2)
    /// The time for which a wrong token is counted.
    static let memory = Duration.seconds(10)
    /// The number of sources that are counted, the newest ones.
    static let sourcesLimit = 1024
    /// The number of wrong tokens of a source that are counted: that bounds the wait and the memory.
    private static let countLimit = Int(longest / step)

    private var moments: [Source: [MonotonicClock]] = [:]
    /// When the newest wrong token was sent; nil for none since the agent started.
    private var newest: MonotonicClock?

    /// Whether there is nothing to remember: asked for each request, without reading the clock.
    var isEmpty: Bool { newest == nil }

    /// Whether a wrong token was sent within ``memory``, by anybody.
    func areUnderWay(at now: MonotonicClock = .now()) -> Bool {
        guard let newest else { return false }
        if now.duration(since: newest) < Self.memory { return true }
        self.newest = nil
        moments = [:]
        return false
    }

    /// Counts a wrong token.
    func note(_ source: Source, at now: MonotonicClock = .now()) {
        newest = now
        if moments[source] == nil, moments.count == Self.sourcesLimit { forgetOldest(at: now) }
        var counted = recent(source, now)
        if counted.count == Self.countLimit { counted.removeFirst() }
        moments[source] = counted + [now]
    }

    /// How long a request of a source has to wait.
    func wait(of source: Source, at now: MonotonicClock = .now()) -> Duration {
        guard areUnderWay(at: now) else { return .zero }
        return Self.step * recent(source, now).count
    }

    private func recent(_ source: Source, _ now: MonotonicClock) -> [MonotonicClock] {
        (moments[source] ?? []).filter { now.duration(since: $0) < Self.memory }
    }

    private func forgetOldest(at now: MonotonicClock) {
        moments = moments.filter { !recent($0.key, now).isEmpty }
        guard moments.count == Self.sourcesLimit else { return }
        let ages = moments.mapValues { $0.last.map { now.duration(since: $0) } ?? .zero }
        if let oldest = ages.max(by: { $0.value < $1.value }) { moments[oldest.key] = nil }
    }
}

extension Client {
    /// The source of the tokens that a TCP client sends.
    var source: Guesses.Source {
        guard case .tcp(let address) = peer else { return .unknown }
        if let account = account() { return .account(account) }
        return switch address.flatMap({ SocketAddress(ip: $0) }) {
        case .ip4(let bytes, _): .network(bytes)
        case .ip6(let bytes, _): .network(Array(bytes.prefix(8)))
        case .unix, .vsock, nil: .unknown
        }
    }
}
