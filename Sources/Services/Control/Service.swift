internal import Synchronization

/// An immutable snapshot of a service, as the API shows it. Until the service changes, all readers share one object.
public final class Service: Equatable, Sendable {
    public let record: ServiceRecord
    public let state: UnitState
    public let intent: ServiceStatus.Intent
    /// Nil for a service without remarks, which is the normal case.
    private let box: RemarksBox?
    private let encoding = Mutex<Encoding?>(nil)

    /// How a service is encoded, and hashes of its spec and of all of it.
    public struct Encoding: Sendable {
        public let bytes: [UInt8]
        public let specHash: UInt64
        public let hash: UInt64

        public init(_ bytes: [UInt8], specHash: UInt64, hash: UInt64) {
            self.bytes = bytes
            self.specHash = specHash
            self.hash = hash
        }
    }

    /// The longest encoding that is cached, in bytes: it bounds the memory per service. Longer ones are encoded at each
    /// read.
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

    /// Unusual conditions of the service.
    public var remarks: Remarks { box?.remarks ?? Remarks() }
    /// systemd's reason for not taking the unit at the last start.
    public var refusal: String? { box?.remarks.refusal }
    /// What the journal tells of the run that has failed.
    public var diagnosis: RunDiagnosis? { box?.remarks.diagnosis }
    /// The outstanding change and what it waits for; nil for none.
    public var pending: PendingChange? {
        if let pending = box?.remarks.pending { return pending }
        guard let run = record.outdatedRun, run == state.invocationID, state.mainPID != nil else { return nil }
        return PendingChange(.restart, since: record.updatedAt, reason: .restartNeeded)
    }
    /// The paths of the drop-ins of the unit, in the order in which systemd applies them.
    public var dropIns: [String] { box?.remarks.unitFiles?.dropIns ?? [] }

    public static func == (left: Service, right: Service) -> Bool {
        left.record == right.record && left.state == right.state && left.intent == right.intent
            && left.remarks == right.remarks
    }

    /// The cached result of `encode`, valid as long as the service does not change. Precondition: `encode` is always
    /// the same.
    public func encoded(_ encode: () -> Encoding) -> Encoding {
        if let keptEncoding { return keptEncoding }
        let encoded = encode()
        if encoded.bytes.count <= Self.keptEncodingBytesLimit { encoding.withLock { $0 = encoded } }
        return encoded
    }

    /// The cache of ``encoded(_:)``.
    public var keptEncoding: Encoding? { encoding.withLock { $0 } }

    public func forgetEncoding() { encoding.withLock { $0 = nil } }

    public var name: ServiceName { record.spec.name }

    public var status: ServiceStatus {
        .of(
            state.activeState,
            isLaunching: state.isLaunching,
            hasMainProcess: record.run.hasMainProcess,
            intent: intent,
            refusal: refusal
        )
    }

    /// The sub-status, for people; nil for none.
    public var subStatus: SubStatus? { .of(self) }

    /// The drift of the unit from the record; nil for none.
    public var drift: Drift? { .of(self) }

    /// The same without the environment.
    public func withoutEnvironment() -> Service {
        record.spec.environment.isEmpty ? self : with(record.spec.withoutEnvironment())
    }

    /// The same without the name of the service or process that holds its port.
    public func withoutPortHolder() -> Service {
        guard let diagnosis, diagnosis.portHolder != nil else { return self }
        var remarks = remarks
        remarks.diagnosis = diagnosis.withoutPortHolder()
        return Service(record: record, state: state, intent: intent, remarks: remarks)
    }

    /// A copy with shorter texts, for clients with a limit of length.
    public func showing(command: String, workingDirectory: String) -> Service {
        with(record.spec.showing(command: command, workingDirectory: workingDirectory))
    }

    private func with(_ spec: ServiceSpec) -> Service {
        var record = record
        record.spec = spec
        return Service(record: record, state: state, intent: intent, remarks: remarks)
    }

    /// Whether a client sees no difference, except for the time of the last change.
    public func looksLike(_ other: Service) -> Bool {
        guard status == other.status, state == other.state, record.run.looksLike(other.record.run),
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

/// Unusual conditions of a service.
public struct Remarks: Equatable, Sendable {
    /// systemd's reason for not taking the unit at the last start.
    public var refusal: String?
    /// What the journal tells of the run that has failed.
    public var diagnosis: RunDiagnosis?
    /// The outstanding change and what it waits for.
    public var pending: PendingChange?
    /// Drop-ins and deviations of the unit's files.
    public var unitFiles: UnitFileFindings?
    /// Set while the service is in a crash loop.
    public var crashLoop: CrashLoop?
    /// The invocation id of a run that counts as ready, although the kernel does not report whose its port is.
    public var uncertainPortRun: String?

    public init() {}
}
