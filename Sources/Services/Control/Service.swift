internal import Synchronization

/// A service as it stands: what the API shows. All who ask before it changes share one object.
public final class Service: Equatable, Sendable {
    public let record: ServiceRecord
    public let state: UnitState
    public let intent: ServiceStatus.Intent
    /// systemd's reason for not taking the unit at the last start.
    public let refusal: String?
    /// What the journal tells of the run that has failed.
    public let diagnosis: RunDiagnosis?
    /// What was asked for and is not reached yet; nil where nothing stands in its way.
    public let pending: PendingChange?
    private let encoding = Mutex<[UInt8]?>(nil)

    /// A longer encoding is not kept: a service has its place in memory, and reads of what is long take their time.
    public static let keptEncodingBytesLimit = 4096

    public init(
        record: ServiceRecord,
        state: UnitState,
        intent: ServiceStatus.Intent,
        refusal: String?,
        diagnosis: RunDiagnosis? = nil,
        pending: PendingChange? = nil
    ) {
        self.record = record
        self.state = state
        self.intent = intent
        self.refusal = refusal
        self.diagnosis = diagnosis
        self.pending = pending
    }

    public static func == (left: Service, right: Service) -> Bool {
        left.record == right.record && left.state == right.state && left.intent == right.intent
            && left.refusal == right.refusal && left.diagnosis == right.diagnosis && left.pending == right.pending
    }

    /// The service in the form that is asked for most: what `encode` makes of it, which is kept as long as the service
    /// does not change. Precondition: `encode` is always the same.
    public func encoded(_ encode: () -> [UInt8]) -> [UInt8] {
        if let keptEncoding { return keptEncoding }
        let bytes = encode()
        if bytes.count <= Self.keptEncodingBytesLimit { encoding.withLock { $0 = bytes } }
        return bytes
    }

    /// What ``encoded(_:)`` has kept.
    public var keptEncoding: [UInt8]? { encoding.withLock { $0 } }

    public func forgetEncoding() { encoding.withLock { $0 = nil } }

    public var name: ServiceName { record.spec.name }

    public var status: ServiceStatus {
        .of(state.activeState, isLaunching: state.isLaunching, intent: intent, refusal: refusal)
    }

    /// The same without the environment.
    public func withoutEnvironment() -> Service {
        record.spec.environment.isEmpty ? self : with(record.spec.withoutEnvironment())
    }

    /// The same with shorter texts, for those who cannot take long ones.
    public func showing(command: String, workingDirectory: String) -> Service {
        with(record.spec.showing(command: command, workingDirectory: workingDirectory))
    }

    private func with(_ spec: ServiceSpec) -> Service {
        var record = record
        record.spec = spec
        return Service(
            record: record,
            state: state,
            intent: intent,
            refusal: refusal,
            diagnosis: diagnosis,
            pending: pending
        )
    }

    /// Whether a client sees a difference other than the time of the last change.
    public func looksLike(_ other: Service) -> Bool {
        status == other.status && state == other.state && refusal == other.refusal && record.run == other.record.run
            && record.spec == other.record.spec && (diagnosis == other.diagnosis || message == other.message)
            && pending == other.pending
    }

    /// One sentence for a person when something is wrong; else nil.
    public var message: String? { ServiceMessage.text(of: self) }
}
