internal import Services
internal import Systemd

/// The client of systemd: org.freedesktop.systemd1(5) over the manager's private socket.
///
/// That socket is accessible to root only, three times as fast as the system bus, needs no bus daemon, and carries
/// every signal without a subscription. It is closed when systemd re-executes itself; the client reports that and
/// reconnects.
@EventLoopActor
final class SystemdClient {
    /// Callbacks of the client, called in the order of systemd's messages.
    struct Observer {
        /// The connection is established. Signals arrive from now on; the state before has to be read.
        var connected: @EventLoopActor () -> Void
        /// The connection is lost; every pending call and job has failed.
        var disconnected: @EventLoopActor () -> Void
        /// systemd has reloaded its unit files.
        var reloaded: @EventLoopActor () -> Void
        /// A unit of the agent has a new state.
        var unitChanged: @EventLoopActor (ServiceName, UnitState) -> Void
    }

    private static let ping = BusMethod(path: objectPath, interface: "org.freedesktop.DBus.Peer", member: "Ping")
    private static let objectPath = "/org/freedesktop/systemd1"
    /// journald's unit, and its object path.
    private static let journalUnit = "systemd-journald.service"
    private static let journalPath = unitPath + "/systemd_2djournald_2eservice"
    private static let unitPath = "/org/freedesktop/systemd1/unit"
    private static let managerInterface = "org.freedesktop.systemd1.Manager"
    private static let unitInterface = "org.freedesktop.systemd1.Unit"
    private static let socketInterface = "org.freedesktop.systemd1.Socket"
    private static let serviceInterface = "org.freedesktop.systemd1.Service"
    private static let propertiesInterface = "org.freedesktop.DBus.Properties"

    /// SIGKILL: signal(7).
    private static let killSignal: Int32 = 9

    /// The time-out of methods that systemd answers from memory.
    private static let callTimeout = Duration.seconds(25)
    /// The time-out of a reload, which takes seconds with thousands of units.
    private static let reloadTimeout = Duration.seconds(90)
    /// The time-out of a ping. systemd answers at once unless it is busy with a long task such as a reload.
    private static let probeTimeout = Duration.seconds(2)
    private static let probeInterval = Duration.seconds(1)
    private static let firstRetryDelay = Duration.milliseconds(20)
    private static let lastRetryDelay = Duration.seconds(1)

    private let socketPath: String
    private var observer: Observer?
    private var bus: Bus?
    private var slots: [Slot] = []
    private var retry: Timer?
    private var retryDelay = SystemdClient.firstRetryDelay

    private var states: [ServiceName: Reported] = [:]

    /// A state on the heap, so that an entry of the dictionary is one pointer: a dictionary reserves more entries than
    /// it holds.
    private final class Reported {
        let state: UnitState
        /// Whether the unit has a job that has not ended.
        let hasJob: Bool

        init(_ state: UnitState, hasJob: Bool) {
            self.state = state
            self.hasJob = hasJob
        }
    }

    /// The state of journald's unit; nil while it is not known.
    private(set) var journalState: ActiveState?
    private var jobs: [String: (unit: String, job: Job)] = [:]
    /// The units that systemd is expected to unload: fulfilled with false when it has, with true when it still holds
    /// the unit.
    private var releases: [String: Promise<Result<Bool, BusError>>] = [:]
    private let reloads = ReloadQueue()
    /// The time and the result of the last ping.
    private var lastProbe: (at: MonotonicClock, isAnswered: Bool)?
    /// One ping at a time: the other callers use its result.
    private let probing = SerialQueue()
    /// The durations of calls, by method.
    private(set) var callDurations: [String: DurationHistogram] = [:]
    /// The number of completed reloads.
    private(set) var reloadsCount = 0

    /// - Parameter socketPath: The manager's private socket, `/run/systemd/private`.
    init(socketPath: String) {
        self.socketPath = socketPath
    }

    /// Starts to connect; the observer is called when the connection is established, and again after each reconnection.
    /// Throws when the timer for retries cannot be made.
    func start(_ observer: Observer) throws(SystemError) {
        self.observer = observer
        retry = try Timer { [weak self] in self?.connect() }
        connect()
    }

    // MARK: Calls

    /// Queues a start job, or a restart job, which stops the unit first if it is active. systemd loads the unit's file
    /// unless it holds a copy.
    func queueStart(_ unit: String, restarting: Bool) async throws(BusError) -> Job {
        try await queueJob(restarting ? "RestartUnit" : "StartUnit", unit)
    }

    func stopUnit(_ unit: String) async throws(BusError) -> Job { try await queueJob("StopUnit", unit) }

    /// Resets a unit's failure and its start-limit counter, before any later call is handled. systemd would return an
    /// error for a unit that is not loaded, which has neither.
    func resetFailedUnit(_ unit: String) throws(BusError) {
        guard let bus else { throw .local(.notConnected) }
        do throws(SystemError) {
            try bus.send(Self.manager("ResetFailedUnit")) { writer throws(SystemError) in try writer.string(unit) }
        } catch {
            throw .local(error)
        }
    }

    /// The latest reported state of a unit; nil for one that was not loaded since the connection was established.
    func state(of name: ServiceName) -> UnitState? { states[name]?.state }

    /// The unit's TimeoutStopSec=, the time between SIGTERM and SIGKILL; nil for infinity.
    func stopTimeout(of unit: String) async throws(BusError) -> Duration? {
        guard let path = try await path(of: unit) else { return nil }
        return try await property("TimeoutStopUSec", Self.serviceInterface, path) { reply throws(SystemError) in
            Int64(exactly: try reply.uint64()).map { .microseconds($0) }
        }
    }

    /// The number of commands that systemd executes after an end, each within ``stopTimeout(of:)``.
    func stopCommandsCount(of unit: String) async throws(BusError) -> Int {
        guard let path = try await path(of: unit) else { return 0 }
        return try await property("ExecStopPost", Self.serviceInterface, path) { reply throws(SystemError) in
            var count = 0
            try reply.array(of: Self.commandType) { () throws(SystemError) in
                try reply.skip()
                count += 1
            }
            return count
        }
    }

    /// The first command of a setting (ExecStartPre= …) that has failed: its place in the setting, and when it began;
    /// nil for none.
    func failedCommand(
        of unit: String,
        _ setting: String
    ) async throws(BusError) -> (place: Int, begin: Timestamp)? {
        guard let path = try await path(of: unit) else { return nil }
        return try await property(setting, Self.serviceInterface, path) { reply throws(SystemError) in
            var place = 0
            var failed: (Int, Timestamp)?
            try reply.array(of: Self.commandType) { () throws(SystemError) in
                try reply.structure(of: "sasbttttuii") { () throws(SystemError) in
                    // Program, arguments, and whether failure is ignored.
                    for _ in 0..<3 { try reply.skip() }
                    let begin = Timestamp(microseconds: Int64(clamping: try reply.uint64()))
                    // The monotonic time of the begin, and both times of the end.
                    for _ in 0..<3 { try reply.skip() }
                    let pid = try reply.uint32()
                    let code = try reply.int32()
                    let status = try reply.int32()
                    if pid != 0, code > Self.exitedCode || status != 0, failed == nil {
                        failed = (place, begin)
                    }
                }
                place += 1
            }
            return failed
        }
    }

    /// What systemd has counted of a run.
    struct RunFigures: Sendable {
        var cpuMilliseconds: Int?
        var memoryPeak: Int?
    }

    /// The figures of the newest run of a unit. Nil when systemd has unloaded the unit or started another run.
    func figures(of unit: String, _ invocationID: String) async throws(BusError) -> RunFigures? {
        guard let path = try await path(of: unit) else { return nil }
        func count(_ name: String) async throws(BusError) -> Int? {
            try await property(name, Self.serviceInterface, path) { reply throws(SystemError) in
                // The highest number stands for "not counted".
                Int(exactly: try reply.uint64())
            }
        }
        var figures = RunFigures(cpuMilliseconds: try await count("CPUUsageNSec").map { $0 / 1_000_000 })
        if version >= Self.versionWithMemoryPeak { figures.memoryPeak = try await count("MemoryPeak") }
        // Last: the figures are of this run if it is still the newest.
        let newest = try await property("InvocationID", Self.unitInterface, path) { reply throws(SystemError) in
            Identifier(bytes: try reply.bytes())?.description
        }
        return newest == invocationID ? figures : nil
    }

    /// The first version of systemd that has the property `MemoryPeak`.
    private static let versionWithMemoryPeak = 256

    /// Whether the machine is shutting down.
    func isShuttingDown() async throws(BusError) -> Bool {
        try await property("SystemState", Self.managerInterface, Self.objectPath) { reply throws(SystemError) in
            try reply.string() == "stopping"
        }
    }

    /// A command of a service: org.freedesktop.systemd1(5), "Properties".
    private static let commandType = "(sasbttttuii)"
    /// CLD_EXITED of waitid(2).
    private static let exitedCode = 1

    /// Sends a signal to the main process of a unit.
    func signalMainProcess(of unit: String, _ signal: Int) async throws(BusError) {
        try await call(Self.manager("KillUnit"), timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string(unit)
            try writer.string("main")
            try writer.int32(Int32(signal))
        }
    }

    /// Sends SIGKILL to all processes of a unit.
    func kill(_ unit: String) async throws(BusError) {
        try await call(Self.manager("KillUnit"), timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string(unit)
            try writer.string("all")
            try writer.int32(Self.killSignal)
        }
    }

    /// Drops the state of a unit whose service is deleted, unless it is active.
    func forgetState(of name: ServiceName) {
        if state(of: name)?.activeState.isDead ?? false { states[name] = nil }
    }

    /// Removes a unit's drop-ins in /etc and /run: RevertUnitFiles.
    func revert(_ unit: String) async throws(BusError) {
        try await call(Self.manager("RevertUnitFiles"), timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.strings([unit])
        }
    }

    /// Applies resource limits to the running processes of a unit. systemd writes drop-ins for them: ``revert(_:)``.
    /// Reading the unit file again would apply them in systemd 252, and does not in 257.
    func setLimits(of unit: String, _ properties: [(name: String, value: UInt64)]) async throws(BusError) {
        try await call(Self.manager("SetUnitProperties"), timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string(unit)
            // Until the next boot.
            try writer.bool(true)
            try writer.properties(properties)
        }
    }

    /// Thaws a frozen unit: systemd from version 256 on neither stops nor restarts a frozen one.
    func thaw(_ unit: String) async throws(BusError) {
        try await call(Self.manager("ThawUnit"), timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string(unit)
        }
    }

    /// Makes the unit's next start use the file on disk: reloads systemd if it holds a stale copy. Returns false for a
    /// unit that is not loaded; that is checked first, because reading a property would load it.
    @discardableResult
    func forgetStaleCopy(of unit: String) async throws(BusError) -> Bool {
        guard let path = try await path(of: unit) else { return false }
        let isStale = try await property("NeedDaemonReload", Self.unitInterface, path) { reply throws(SystemError) in
            try reply.bool()
        }
        if isStale { try await reload() }
        return true
    }

    /// The object path of a unit; nil for one that is not loaded.
    private func path(of unit: String) async throws(BusError) -> String? {
        do throws(BusError) {
            return try await call(Self.manager("GetUnit")) { writer throws(SystemError) in
                try writer.string(unit)
            } decode: { reply throws(SystemError) in
                try reply.string()
            }
        } catch .remote(name: "org.freedesktop.systemd1.NoSuchUnit", message: _) {
            return nil
        }
    }

    /// Waits until all signals about a unit whose stop has ended have been received: it is unloaded, or a ping is
    /// answered.
    func awaitLastSignals(of unit: String) async throws(BusError) {
        _ = try await lastWord(on: unit) { [self] () throws(BusError) in
            try await roundTrip()
            return true
        }
    }

    /// Makes sure that systemd holds nothing of a unit whose stop has ended and whose file is removed.
    func forget(_ unit: String) async throws(BusError) {
        let isHeld = try await lastWord(on: unit) { [self] () throws(BusError) in
            // Before the ping is answered systemd may still be unloading the unit.
            try await roundTrip()
            return try await path(of: unit) != nil
        }
        if isHeld { try await forgetStaleCopy(of: unit) }
    }

    /// Records from now on whether systemd unloads the unit, for the next ``forget(_:)``.
    func expectRelease(of unit: String) { releases[unit] = Promise() }

    /// Waits until systemd unloads a unit, as it does with a stopped one that has no references, or until `isHeld` has
    /// asked it whether it still holds the unit: with many units that answer takes milliseconds longer than the signal.
    private func lastWord(
        on unit: String,
        orAnswerTo isHeld: @escaping @EventLoopActor () async throws(BusError) -> Bool
    ) async throws(BusError) -> Bool {
        let word = releases[unit] ?? Promise()
        releases[unit] = word
        defer { if releases[unit] === word { releases[unit] = nil } }
        guard word.value == nil else { return try await word.wait().get() }
        EventLoop.begin {
            do throws(BusError) {
                word.fulfil(.success(try await isHeld()))
            } catch {
                word.fulfil(.failure(error))
            }
        }
        return try await word.wait().get()
    }

    /// Round trip (Ping): D-Bus keeps order, so every signal that systemd sent before the reply has been handled when
    /// it returns.
    func roundTrip() async throws(BusError) {
        try await call(Self.ping, timeout: Self.callTimeout)
    }

    /// The number of systemd's version, as of the last connection: 252 for "252.39-1~deb12u1". Without one the newest.
    private(set) var version = Int.max

    func readVersion() async throws(BusError) {
        version = try await property("Version", Self.managerInterface, Self.objectPath) { reply throws(SystemError) in
            Int(try reply.string().prefix { ("0"..."9").contains($0) }) ?? .max
        }
    }

    /// Applies that a unit was frozen or thawed, for which systemd sends no signal.
    func noticeFreezing(of name: ServiceName, isFrozen: Bool) {
        guard var state = states[name]?.state, state.isFrozen != isFrozen else { return }
        state.isFrozen = isFrozen
        publish(state, nil, of: name)
    }

    /// Whether systemd answers a ping. The result is cached for 1 s, because any client may ask and must not load
    /// systemd.
    func answers() async -> Bool {
        await probing.enter()
        defer { _ = probing.leave() }
        if let last = lastProbe, MonotonicClock.now().duration(since: last.at) < Self.probeInterval {
            return last.isAnswered
        }
        var isAnswered = true
        do throws(BusError) {
            try await call(Self.ping, timeout: Self.probeTimeout)
        } catch {
            isAnswered = false
        }
        lastProbe = (MonotonicClock.now(), isAnswered)
        return isAnswered
    }

    /// Reads the states of all loaded units of the agent and passes them to `unitChanged`. A unit for which `recall`
    /// can derive the state from its entry in the list is not read: reading all properties takes systemd almost 1 ms
    /// per unit.
    func readStates(
        _ recall: @escaping @EventLoopActor (ServiceName, ListedUnit) -> UnitState?
    ) async throws(BusError) {
        let unknown = try await call(Self.manager("ListUnitsByPatterns")) { writer throws(SystemError) in
            try writer.strings([])
            try writer.strings([UnitName.pattern])
        } decode: { [weak self] reply throws(SystemError) in
            var unknown: [(name: ServiceName, path: String)] = []
            try reply.array(of: "(ssssssouso)") { () throws(SystemError) in
                try reply.structure(of: "ssssssouso") { () throws(SystemError) in
                    let unit = try ListedUnit(reading: reply)
                    guard let name = UnitName.service(ofUnit: unit.unit) else { return }
                    // Inside the callback: the next message may change this state.
                    if let state = recall(name, unit) {
                        self?.publish(state, nil, of: name)
                    } else {
                        unknown.append((name, unit.path))
                    }
                }
            }
            return unknown
        }
        for entry in unknown {
            do throws(BusError) {
                try await readState(of: entry.name, at: entry.path)
            } catch .remote {
                // A unit that cannot be read must not hide the others.
                continue
            }
        }
    }

    /// Reads the state of journald's unit; signals update it from then on.
    func readJournalState() async throws(BusError) {
        try await property("ActiveState", Self.unitInterface, Self.journalPath) {
            [weak self] reply throws(SystemError) in
            // Inside the callback: the next message may have a newer one.
            self?.journalState = ActiveState(rawValue: try reply.string())
        }
    }

    /// The known queued job of a unit.
    func job(of unit: String) -> Job? { jobs.values.first { $0.unit == unit }?.job }

    /// Whether the last message about a unit showed a job, of any client.
    func hasJob(_ name: ServiceName) -> Bool { states[name]?.hasJob ?? false }

    private func readState(of name: ServiceName, at path: String) async throws(BusError) {
        // The empty interface name selects the properties of all interfaces.
        let getAll = BusMethod(path: path, interface: Self.propertiesInterface, member: "GetAll")
        try await call(getAll, timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string("")
        } decode: { [weak self] reply throws(SystemError) in
            var state = UnitState()
            let job = try UnitProperties.apply(reply, to: &state)
            self?.adopt(job, of: name)
            self?.publish(state, job, of: name)
        }
    }

    /// The version of systemd, and the time at which the kernel or, in a container, systemd was started.
    func describe() async throws(BusError) -> (version: String?, startedAt: Timestamp?) {
        let getAll = BusMethod(path: Self.objectPath, interface: Self.propertiesInterface, member: "GetAll")
        return try await call(getAll, timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string(Self.managerInterface)
        } decode: { reply throws(SystemError) in
            var version: String?
            var kernel: Timestamp?
            var userspace: Timestamp?
            try reply.properties { name throws(SystemError) in
                switch name {
                case "Version": version = try reply.string()
                case "KernelTimestamp": kernel = Timestamp(systemd: try reply.uint64())
                case "UserspaceTimestamp": userspace = Timestamp(systemd: try reply.uint64())
                default: return false
                }
                return true
            }
            return (version, kernel ?? userspace)
        }
    }

    /// The stream addresses of the failed socket units that would start the unit of a process, as in ListenStream=:
    /// "127.0.0.1:2088". Empty for a process of no unit.
    func failedListenAddresses(ofUnitWith pid: UInt32) async throws(BusError) -> [String] {
        let path: String
        do throws(BusError) {
            path = try await call(Self.manager("GetUnitByPID")) { writer throws(SystemError) in
                try writer.uint32(pid)
            } decode: { reply throws(SystemError) in
                try reply.string()
            }
        } catch .remote(name: "org.freedesktop.systemd1.NoUnitForPID", message: _) {
            return []
        }
        let triggers = try await property("TriggeredBy", Self.unitInterface, path) { reply throws(SystemError) in
            var units: [String] = []
            try reply.array(of: "s") { () throws(SystemError) in units.append(try reply.string()) }
            return units
        }
        var addresses: [String] = []
        for unit in triggers where unit.hasSuffix(".socket") {
            guard let path = try await self.path(of: unit) else { continue }
            let state = try await property("ActiveState", Self.unitInterface, path) { reply throws(SystemError) in
                try reply.string()
            }
            guard state == ActiveState.failed.rawValue else { continue }
            addresses += try await property("Listen", Self.socketInterface, path) { reply throws(SystemError) in
                var streams: [String] = []
                try reply.array(of: "(ss)") { () throws(SystemError) in
                    try reply.structure(of: "ss") { () throws(SystemError) in
                        let kind = try reply.string()
                        let address = try reply.string()
                        if kind == "Stream" { streams.append(address) }
                    }
                }
                return streams
            }
        }
        return addresses
    }

    /// Reads a property of an object.
    private func property<Value: Sendable>(
        _ name: String,
        _ interface: String,
        _ path: String,
        _ read: @escaping @EventLoopActor (borrowing MessageReader) throws(SystemError) -> Value
    ) async throws(BusError) -> Value {
        let get = BusMethod(path: path, interface: Self.propertiesInterface, member: "Get")
        return try await call(get, timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string(interface)
            try writer.string(name)
        } decode: { reply throws(SystemError) in
            var value: Value?
            try reply.variant { () throws(SystemError) in value = try read(reply) }
            return value!
        }
    }

    /// Reloads systemd's unit files. Concurrent callers share one reload, which begins after the last of them has
    /// called.
    func reload() async throws(BusError) {
        try await reloads.run { () async throws(BusError) in
            try await self.call(Self.manager("Reload"), timeout: Self.reloadTimeout)
            self.reloadsCount += 1
        }
    }

    private func queueJob(_ member: String, _ unit: String) async throws(BusError) -> Job {
        try await call(Self.manager(member), timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string(unit)
            try writer.string("replace")
        } decode: { [weak self] reply throws(SystemError) in
            // Inside the callback: the job's JobRemoved may be the next message.
            let job = Job()
            self?.jobs[try reply.string()] = (unit, job)
            return job
        }
    }

    /// Calls a method and records the duration, also of a failure.
    private func call<Reply: Sendable>(
        _ method: BusMethod,
        timeout: Duration = callTimeout,
        arguments: (borrowing MessageWriter) throws(SystemError) -> Void = { _ throws(SystemError) in },
        decode: @escaping @EventLoopActor (borrowing MessageReader) throws(SystemError) -> Reply
    ) async throws(BusError) -> Reply {
        guard let bus else { throw .local(.notConnected) }
        let begin = MonotonicClock.now()
        defer { callDurations[method.member, default: .init()].count(MonotonicClock.now().duration(since: begin)) }
        return try await bus.call(
            method,
            timeout: timeout,
            arguments: arguments,
            decode: decode
        )
    }

    /// Calls a method whose reply has no content of interest.
    private func call(
        _ method: BusMethod,
        timeout: Duration = callTimeout,
        arguments: (borrowing MessageWriter) throws(SystemError) -> Void = { _ throws(SystemError) in }
    ) async throws(BusError) {
        try await call(method, timeout: timeout, arguments: arguments) { _ throws(SystemError) in }
    }

    private static func manager(_ member: String) -> BusMethod {
        BusMethod(path: objectPath, interface: managerInterface, member: member)
    }

    // MARK: Connection

    private func connect() {
        do throws(SystemError) {
            let bus = try Bus(connectingTo: socketPath) { [weak self] in self?.lost() }
            slots = [
                try bus.subscribe(
                    to: "type='signal',path_namespace='\(Self.unitPath)',interface='\(Self.propertiesInterface)',"
                        + "member='PropertiesChanged'"
                ) { [weak self] message in self?.propertiesChanged(message) },
                try bus.subscribe(to: Self.managerSignal("JobRemoved")) { [weak self] in self?.jobRemoved($0) },
                try bus.subscribe(to: Self.managerSignal("UnitRemoved")) { [weak self] in self?.unitRemoved($0) },
                try bus.subscribe(to: Self.managerSignal("Reloading")) { [weak self] in self?.reloading($0) },
            ]
            self.bus = bus
        } catch {
            scheduleRetry()
            return
        }
        EventLoop.start { [weak self] in await self?.greet() }
    }

    /// The connection is made in the background: the first reply shows that it is established.
    private func greet() async {
        do throws(BusError) {
            try await roundTrip()
        } catch {
            // A lost connection schedules the next attempt itself; a peer that does not answer has to be dropped.
            if error.isTimeout { lost() }
            return
        }
        retryDelay = Self.firstRetryDelay
        observer?.connected()
    }

    private func lost() {
        guard bus != nil else { return }
        slots = []
        bus = nil
        states = [:]
        journalState = nil
        let waiting = jobs.values
        jobs = [:]
        for (_, job) in waiting { job.end(.failure(.disconnected)) }
        observer?.disconnected()
        scheduleRetry()
    }

    /// Handles a lost connection that a call has noticed before the disconnect handler was called.
    func noticeLoss() {
        if let bus, !bus.isOpen { lost() }
    }

    /// Closes the connection and connects again.
    func reconnect() { lost() }

    private func scheduleRetry() {
        retry?.arm(after: retryDelay)
        retryDelay = min(retryDelay * 2, Self.lastRetryDelay)
    }

    private static func managerSignal(_ member: String) -> String {
        "type='signal',path='\(objectPath)',interface='\(managerInterface)',member='\(member)'"
    }

    // MARK: Signals

    private func propertiesChanged(_ message: borrowing MessageReader) {
        guard let path = message.path, let unit = Bus.label(ofObjectPath: path, below: Self.unitPath) else { return }
        guard let name = UnitName.service(ofUnit: unit) else {
            if unit == Self.journalUnit { journalChanged(message) }
            return
        }
        do throws(SystemError) {
            let interface = try message.string()
            var state = states[name]?.state ?? UnitState()
            let job = try UnitProperties.apply(message, to: &state)
            if interface == Self.serviceInterface {
                // The signal of the Unit interface follows at once and completes the state; in between it would combine
                // a new process with an old state.
                states[name] = Reported(state, hasJob: hasJob(name))
            } else if interface == Self.unitInterface {
                publish(state, job, of: name)
                if let job { endJobs(of: unit, but: job) }
            }
        } catch {
            // systemd does not send such a message; all states are read again.
            EventLoop.start { [weak self] in try? await self?.readStates { _, _ in nil } }
        }
    }

    private func journalChanged(_ message: borrowing MessageReader) {
        do throws(SystemError) {
            guard try message.string() == Self.unitInterface else { return }
            var state = UnitState()
            // Kept when the signal does not contain it.
            if let journalState { state.activeState = journalState }
            _ = try UnitProperties.apply(message, to: &state)
            journalState = state.activeState
        } catch {
            // systemd does not send such a message.
            journalState = nil
        }
    }

    private func unitRemoved(_ message: borrowing MessageReader) {
        // A malformed message is ignored: the question to systemd is answered in any case.
        guard let unit = try? message.string() else { return }
        releases[unit]?.fulfil(.success(false))
    }

    private func reloading(_ message: borrowing MessageReader) {
        // True at the beginning of a reload, false at its end.
        if (try? message.bool()) == false { observer?.reloaded() }
    }

    private func jobRemoved(_ message: borrowing MessageReader) {
        do throws(SystemError) {
            _ = try message.uint32()
            let path = try message.string()
            guard let (_, job) = jobs.removeValue(forKey: path) else { return }
            _ = try message.string()
            job.end(.success(try message.string()))
        } catch {
            // A malformed message is ignored: the wait for the job has a time-out.
        }
    }

    /// Registers a job that was queued before the connection was established.
    private func adopt(_ path: String?, of name: ServiceName) {
        guard let path, path != "/", jobs[path] == nil else { return }
        jobs[path] = (UnitName.unit(of: name), Job())
    }

    /// Ends all jobs of a unit except its current one. Their JobRemoved signals were sent before; if one was lost, the
    /// wait for it would not end.
    private func endJobs(of unit: String, but path: String) {
        for (other, entry) in jobs where entry.unit == unit && other != path {
            jobs[other] = nil
            entry.job.end(.success("unknown"))
        }
    }

    /// Passes on a state; `job` is the path of the unit's job, "/" for none, nil for no news.
    private func publish(_ state: UnitState, _ job: String?, of name: ServiceName) {
        states[name] = Reported(state, hasJob: job.map { $0 != "/" } ?? hasJob(name))
        observer?.unitChanged(name, state)
    }
}
