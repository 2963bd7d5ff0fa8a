import API
import Services
import Synchronization

/// A control that answers what a test tells it to, and remembers what it was asked.
final class ScriptedControl: ServiceControl, AnswerStore, AuditStore {
    struct State {
        var services: [Service] = []
        var removed: [RemovedService] = []
        var error: ControlError?
        /// What one verb fails with: "create".
        var errors: [String: ControlError] = [:]
        /// When an earlier request of the idempotency key was begun.
        var begunAt: Timestamp?
        var outage: String?
        var unreadable: [String] = []
        var isNew = true
        var measurements = Measurements(isReady: true, services: [], systemdCalls: [:], reloads: 0)
        var usage: [ServiceName: ResourceUsage] = [:]
        var agent = AgentMeasurements(version: "1.2.3")
        var calls: [String] = []
        var specs: [ServiceSpec] = []
        var logPieces: [LogPiece] = []
        var eventPieces: [EventPiece] = []
        var logQueries: [LogQuery] = []
        var positions: [EventPosition?] = []
        var journal: ActiveState?
        var isPortOwnerKnown = true
        var audit: [AuditEntry] = []
        /// The newest first.
        var runs: [RunDetails] = []
        var auditQueries: [AuditQuery] = []
        var kept: [String: (fingerprint: String, answer: KeptAnswer)] = [:]
        /// The controls of accounts that were asked for.
        var accounts: [UInt32: ScriptedControl] = [:]
    }

    let state = Mutex(State())

    init(_ services: [Service] = []) {
        state.withLock { $0.services = services }
    }

    /// The calls in order, those of the audit included.
    var allCalls: [String] { state.withLock { $0.calls } }
    var calls: [String] { allCalls.filter { !$0.hasPrefix("audit") } }
    var specs: [ServiceSpec] { state.withLock { $0.specs } }

    func fail(with error: ControlError?) { state.withLock { $0.error = error } }

    private func called(_ call: String) throws(ControlError) -> Service {
        let (error, service) = state.withLock { state in
            state.calls.append(call)
            let verb = String(call.prefix { $0 != " " })
            return (state.errors[verb] ?? state.error, state.services.first)
        }
        if let error { throw error }
        guard let service else { throw .serviceNotFound }
        return service
    }

    var readiness: Readiness {
        state.withLock { state in
            Readiness(
                outage: state.outage,
                unreadableRecords: state.unreadable,
                journalState: state.journal,
                isPortOwnerKnown: state.isPortOwnerKnown
            )
        }
    }

    /// Another control, with the same services.
    func services(of account: Account) -> any ServiceControl {
        state.withLock { state in
            let control = state.accounts[account.uid] ?? ScriptedControl(state.services)
            state.accounts[account.uid] = control
            return control
        }
    }

    func measurements() async -> Measurements { state.withLock { $0.measurements } }

    func usage(of names: [ServiceName]) async -> [ServiceName: ResourceUsage] { state.withLock { $0.usage } }

    var areStatesKnown: Bool { state.withLock { $0.outage == nil } }

    func awaitStates() async throws(ControlError) {
        if let outage = state.withLock({ $0.outage }) { throw .systemdUnavailable(outage) }
    }

    func list() throws(ControlError) -> [Service] {
        _ = try? called("list")
        if let error = state.withLock({ $0.error }) { throw error }
        return state.withLock { $0.services }
    }

    func listRemoved() async throws(ControlError) -> [RemovedService] { state.withLock { $0.removed } }

    func service(_ reference: String) throws(ControlError) -> Service { try called("service \(reference)") }

    func unitFile(_ reference: String) async throws(ControlError) -> [UInt8] {
        _ = try called("unit \(reference)")
        return Array("[Unit]\n".utf8)
    }

    func runs(of reference: String) async throws(ControlError) -> [EndedRun] {
        _ = try called("runs \(reference)")
        return state.withLock { $0.runs.map(\.run) }
    }

    func run(_ number: Int, of reference: String) async throws(ControlError) -> RunDetails {
        _ = try called("run \(number) \(reference)")
        guard let run = state.withLock({ $0.runs.first { $0.run.number == number } }) else { throw .runNotFound }
        return run
    }

    func unitText(of spec: ServiceSpec, id: String?) -> String { "[Unit]\n# \(spec.name) \(id ?? "new")\n" }

    func create(_ spec: ServiceSpec, starts: Bool) async throws(ControlError) -> Service {
        state.withLock { $0.specs.append(spec) }
        return try called("create \(spec.name)" + (starts ? "" : " stopped"))
    }

    func replace(
        _ spec: ServiceSpec,
        restarts: Bool
    ) async throws(ControlError) -> (service: Service, isNew: Bool) {
        state.withLock { $0.specs.append(spec) }
        let call = "replace \(spec.name)" + (restarts ? "" : " later")
        return (try called(call), state.withLock { $0.isNew })
    }

    func change(
        _ reference: String,
        restarts: Bool,
        _ change: @Sendable (ServiceSpec) -> ServiceSpec?
    ) async throws(ControlError) -> Service? {
        let service = try called("change \(reference)" + (restarts ? "" : " later"))
        guard let spec = change(service.record.spec) else { return nil }
        state.withLock { $0.specs.append(spec) }
        return service
    }

    func signal(_ reference: String, _ number: Int?) async throws(ControlError) -> Service {
        try called("signal \(reference) \(number.map { String($0) } ?? "reload")")
    }

    func start(_ reference: String) async throws(ControlError) -> Service { try called("start \(reference)") }

    func stop(_ reference: String) async throws(ControlError) -> Service { try called("stop \(reference)") }

    func restart(_ reference: String) async throws(ControlError) -> Service { try called("restart \(reference)") }

    func delete(
        _ reference: String,
        by requester: Requester,
        if condition: @Sendable (ServiceSpec) -> Bool
    ) async throws(ControlError) -> ServiceName {
        if let service = state.withLock({ $0.services.first }), !condition(service.record.spec) {
            throw .preconditionFailed
        }
        let uid = requester.uid.map { String($0) } ?? "-"
        return try called("delete \(reference) by \(uid) \(requester.requestID)").name
    }

    func wait(
        for state: AwaitedState,
        of reference: String,
        within timeout: Duration
    ) async throws(ControlError) -> (service: Service, log: [String]) {
        let service = try called("wait \(state) \(reference) \(timeout)")
        return (service, service.status == .failed ? ["last line"] : [])
    }

    func readLog(_ reference: String, _ query: LogQuery) async throws(ControlError) -> any LogReading {
        _ = try called("log \(reference)")
        state.withLock { $0.logQueries.append(query) }
        return ScriptedLog(control: self)
    }

    func readEvents(after position: EventPosition?) async throws(ControlError) -> any EventReading {
        _ = try called("events")
        state.withLock { $0.positions.append(position) }
        return ScriptedEvents(control: self)
    }

    func once(
        _ key: String,
        of uid: UInt32?,
        fingerprint: String,
        _ operation: @Sendable (_ begunAt: Timestamp?) async -> KeptAnswer
    ) async throws(ControlError) -> KeptAnswer {
        let key = uid.map { "\($0) \(key)" } ?? key
        if let kept = state.withLock({ $0.kept[key] }) {
            guard kept.fingerprint == fingerprint else { throw .keyReused }
            return kept.answer
        }
        let answer = await operation(state.withLock { $0.begunAt })
        state.withLock { $0.kept[key] = (fingerprint, answer) }
        return answer
    }

    func begin(_ entry: AuditEntry, isUrgent: Bool) async -> Int {
        state.withLock { state in
            state.calls.append(isUrgent ? "audit, urgent" : "audit")
            state.audit.append(entry)
            return state.audit.count - 1
        }
    }

    func end(_ number: Int, service: String?, status: Int, isUrgent: Bool) async {
        state.withLock { state in
            state.calls.append("audit \(status)")
            state.audit[number].service = service
            state.audit[number].status = status
        }
    }

    func read(_ query: AuditQuery) async throws(ControlError) -> [AuditEntry] {
        let (error, entries) = state.withLock { state in
            state.auditQueries.append(query)
            return (state.error, state.audit.reversed())
        }
        if let error { throw error }
        return Array(entries)
    }
}

/// The pieces of a log that a test has written down, and then its end.
private struct ScriptedLog: LogReading {
    let control: ScriptedControl
    let serviceID = "id-1"

    func next() async throws(ControlError) -> LogPiece {
        control.state.withLock { $0.logPieces.isEmpty ? .end : $0.logPieces.removeFirst() }
    }
}

/// The events that a test has written down, and then their end.
private struct ScriptedEvents: EventReading {
    let control: ScriptedControl
    let bootID = "boot"

    func next() async -> EventPiece {
        control.state.withLock { $0.eventPieces.isEmpty ? .end : $0.eventPieces.removeFirst() }
    }
}
