/// A change of a service.
public struct ServiceEvent: Equatable, Sendable {
    public enum Kind: String, CaseIterable, Sendable {
        case created
        /// The spec has changed.
        case updated
        /// The state that systemd reports has changed, or a request was made that will change it.
        case state
        case removed
        /// A run has ended, and its record is written.
        case run
    }

    /// Increases by one with each event, and by more when the agent restarts, until the machine reboots.
    public let sequence: Int
    public let at: Timestamp
    public let kind: Kind
    /// The status before; nil for a new service.
    public let previousStatus: ServiceStatus?
    /// The service after the change, without the values of its environment.
    public let service: Service
    /// The record of the run for an event of that kind.
    public let run: EndedRun?

    public init(
        sequence: Int,
        at: Timestamp,
        kind: Kind,
        previousStatus: ServiceStatus?,
        service: Service,
        run: EndedRun? = nil
    ) {
        self.sequence = sequence
        self.at = at
        self.kind = kind
        self.previousStatus = previousStatus
        self.service = service
        self.run = run
    }

    /// The same without the name of the service or process that holds the port of the service.
    public func withoutPortHolder() -> ServiceEvent {
        var run = run
        if run?.portHolder != nil { run?.portHolder = "another process" }
        return ServiceEvent(
            sequence: sequence,
            at: at,
            kind: kind,
            previousStatus: previousStatus,
            service: service.withoutPortHolder(),
            run: run
        )
    }

    /// The approximate size of the event as sent: a fixed part, and the texts that differ between services.
    public var byteCount: Int {
        let spec = service.record.spec
        return Self.fixedBytes + spec.command.utf8.count + 2 * spec.workingDirectory.utf8.count
            + spec.options.byteCount
    }

    private static let fixedBytes = 1024
}

/// The position of an event in the stream: `BOOT-SEQ`, as the `id:` of a server-sent event.
public struct EventPosition: Equatable, Sendable, CustomStringConvertible {
    public let bootID: String
    public let sequence: Int

    public init(bootID: String, sequence: Int) {
        self.bootID = bootID
        self.sequence = sequence
    }

    /// Nil when the text is not of that form.
    public init?(_ text: String) {
        guard let hyphen = text.lastIndex(of: "-") else { return nil }
        let digits = text[text.index(after: hyphen)...]
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let sequence = Int(digits) else { return nil }
        self.init(bootID: String(text[..<hyphen]), sequence: sequence)
    }

    public var description: String { "\(bootID)-\(sequence)" }
}

/// The events for one reader.
public protocol EventReading: Sendable {
    /// The id of this boot, for the positions of the events.
    var bootID: String { get }

    /// The next piece; waits for events.
    func next() async -> EventPiece
}

/// The result of one read of the events.
public enum EventPiece: Equatable, Sendable {
    /// The events after the reader's position are not kept any more.
    case gap
    /// The current state of all services; `sequence` is the last event before it.
    case snapshot([Service], sequence: Int, at: Timestamp)
    /// At least one event.
    case events([ServiceEvent])
    /// No event for ``StreamLimits/quietTime``.
    case quiet
    /// The reader is more than ``StreamLimits/readerLagBytesLimit`` behind: it must reconnect and start again.
    case tooSlow
    /// No more pieces: the read was cancelled, or the reader was too slow.
    case end
}
