internal import Synchronization

/// A service as it stands: what the API shows. All who ask before it changes share one object.
public final class Service: Equatable, Sendable {
    public let record: ServiceRecord
    public let state: UnitState
    public let intent: ServiceStatus.Intent
    /// Nil for a service of which there is nothing to remark: nearly all of them, nearly always.
    private let box: RemarksBox?
    private let encoding = Mutex<[UInt8]?>(nil)

    /// A longer encoding is not kept: a service has its place in memory, and reads of what is long take their time.
    public static let keptEncodingBytesLimit = 4096

    public init(
        record: ServiceRecord,
        state: UnitState,
        intent: ServiceStatus.Intent,
        remarks: Remarks = Remarks()
    ) {
        self.record = record
        self.state = state
        self.intent = intent
        box = remarks == Remarks() ? nil : RemarksBox(remarks)
    }

    private final class RemarksBox: Sendable {
        let remarks: Remarks

        init(_ remarks: Remarks) { self.remarks = remarks }
    }

    /// What is out of the ordinary about the service.
    public var remarks: Remarks { box?.remarks ?? Remarks() }
    /// systemd's reason for not taking the unit at the last start.
    public var refusal: String? { box?.remarks.refusal }
    /// What the journal tells of the run that has failed.
    public var diagnosis: RunDiagnosis? { box?.remarks.diagnosis }
    /// What was asked for and is not reached yet; nil where nothing stands in its way.
    public var pending: PendingChange? { box?.remarks.pending }
    /// The paths of the drop-ins of the unit, in the order in which systemd applies them.
    public var dropIns: [String] { box?.remarks.unitFiles?.dropIns ?? [] }

    public static func == (left: Service, right: Service) -> Bool {
        left.record == right.record && left.state == right.state && left.intent == right.intent
            && left.remarks == right.remarks
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

    /// The finer word for people; nil when there is nothing to add.
    public var subStatus: SubStatus? { .of(self) }

    /// How what runs or will start differs from what was asked for; nil when it does not.
    public var drift: Drift? { .of(self) }

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
        return Service(record: record, state: state, intent: intent, remarks: remarks)
    }

    /// Whether a client sees a difference other than the time of the last change.
    public func looksLike(_ other: Service) -> Bool {
        guard status == other.status, state == other.state, record.run == other.record.run,
            record.spec == other.record.spec, subStatus == other.subStatus
        else { return false }
        let (remarks, others) = (remarks, other.remarks)
        guard remarks != others else { return true }
        return remarks.refusal == others.refusal && remarks.pending == others.pending
            && remarks.unitFiles == others.unitFiles && message == other.message
    }

    /// One sentence for a person when something is wrong; else nil.
    public var message: String? { ServiceMessage.text(of: self) }
}

/// What is out of the ordinary about a service.
public struct Remarks: Equatable, Sendable {
    /// systemd's reason for not taking the unit at the last start.
    public var refusal: String?
    /// What the journal tells of the run that has failed.
    public var diagnosis: RunDiagnosis?
    /// What was asked for and is not reached yet.
    public var pending: PendingChange?
    /// What was found of the unit's files beside the agent's own.
    public var unitFiles: UnitFileFindings?
    /// Set while the service ends again and again and systemd starts it.
    public var crashLoop: CrashLoop?

    public init() {}
}
