/// A change of a service.
public struct ServiceEvent: Equatable, Sendable {
    public enum Kind: String, CaseIterable, Sendable {
        case created
        /// It has another spec.
        case updated
        /// systemd reports another state, or something was asked of it that will lead to one.
        case state
        case removed
    }

    /// Counts up by one with each event, and by more when the agent is started again, as long as the machine is up.
    public let sequence: Int
    public let at: Timestamp
    public let kind: Kind
    /// What its status was before; nil for a new service.
    public let previousStatus: ServiceStatus?
    /// The service after the change, without the values of its environment.
    public let service: Service

    public init(
        sequence: Int,
        at: Timestamp,
        kind: Kind,
        previousStatus: ServiceStatus?,
        service: Service
    ) {
        self.sequence = sequence
        self.at = at
        self.kind = kind
        self.previousStatus = previousStatus
        self.service = service
    }

    /// How many bytes it is to a reader, more or less: what differs from service to service, and the rest.
    public var byteCount: Int {
        Self.fixedBytes + service.record.spec.command.utf8.count + 2 * service.record.spec.workingDirectory.utf8.count
    }

    private static let fixedBytes = 1024
}

/// An event's place among all that ever were: `BOOT-SEQ`, as the `id:` of a server-sent event.
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

/// The events, as one reader gets them.
public protocol EventReading: Sendable {
    /// The boot that the events are of, for their positions.
    var bootID: String { get }

    /// What follows; waits for something to happen.
    func next() async -> EventPiece
}

/// What the reading of the events has come to.
public enum EventPiece: Equatable, Sendable {
    /// What there was between the reader's last event and now is not known any more.
    case gap
    /// All services as they are; `sequence` is the event that led to this.
    case snapshot([Service], sequence: Int, at: Timestamp)
    /// At least one event.
    case events([ServiceEvent])
    /// For ``StreamLimits/quietTime`` there has been none.
    case quiet
    /// The reader is too far behind: it has to come back and begin anew.
    case tooSlow
    /// Nobody waits for more.
    case end
}
