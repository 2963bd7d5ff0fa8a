internal import Services
internal import Systemd

/// systemd as the agent speaks to it: org.freedesktop.systemd1(5) over the manager's private socket.
///
/// That socket is root's, three times as quick as the system bus, needs no bus daemon, and carries every signal without
/// a subscription. It breaks when systemd re-executes itself; the client says so and connects again.
@EventLoopActor
final class SystemdClient {
    /// What the client tells its owner, always in the order in which systemd said it.
    struct Observer {
        /// The connection stands. Signals come from now on; what was before has to be asked for.
        var connected: @EventLoopActor () -> Void
        /// The connection is gone; every call and job that was waiting has failed.
        var disconnected: @EventLoopActor () -> Void
        /// systemd has read its unit files anew.
        var reloaded: @EventLoopActor () -> Void
        /// A unit of ours has a new state.
        var unitChanged: @EventLoopActor (ServiceName, UnitState) -> Void
    }

    private static let ping = BusMethod(path: objectPath, interface: "org.freedesktop.DBus.Peer", member: "Ping")
    private static let objectPath = "/org/freedesktop/systemd1"
    /// The unit to which services write their output, and its object.
    private static let journalUnit = "systemd-journald.service"
    private static let journalPath = unitPath + "/systemd_2djournald_2eservice"
    private static let unitPath = "/org/freedesktop/systemd1/unit"
    private static let managerInterface = "org.freedesktop.systemd1.Manager"
    private static let unitInterface = "org.freedesktop.systemd1.Unit"
    private static let serviceInterface = "org.freedesktop.systemd1.Service"
    private static let propertiesInterface = "org.freedesktop.DBus.Properties"

    /// SIGKILL: signal(7).
    private static let killSignal: Int32 = 9

    /// A method that systemd answers from memory; longer than that and it is in trouble.
    private static let callTimeout = Duration.seconds(25)
    /// A reload takes seconds where there are thousands of units.
    private static let reloadTimeout = Duration.seconds(90)
    /// A ping is answered at once by a systemd that is not in the middle of something long, such as a reload.
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

    private var states: [ServiceName: Box<UnitState>] = [:]
    /// The state of journald's unit; nil while systemd's word on it is not known.
    private(set) var journalState: ActiveState?
    private var jobs: [String: (unit: String, job: Job)] = [:]
    /// Whether systemd still holds a unit, by unit: false when it has let go of it.
    private var releases: [String: Promise<Result<Bool, BusError>>] = [:]
    private let reloads = ReloadQueue()
    /// When systemd was last asked whether it answers, and whether it did.
    private var lastProbe: (at: MonotonicClock, isAnswered: Bool)?
    /// Lets one ask at a time: the others take its answer.
    private let probing = SerialQueue()
    /// How long systemd took to answer, by method.
    private(set) var callDurations: [String: DurationHistogram] = [:]
    /// How often systemd was had to read its unit files anew, and did.
    private(set) var reloadsCount = 0

    /// - Parameter socketPath: The manager's private socket, `/run/systemd/private`.
    init(socketPath: String) {
        self.socketPath = socketPath
    }

    /// Starts to connect; the observer hears when that is done, and again after each loss of the connection.
    func start(_ observer: Observer) throws(SystemError) {
        self.observer = observer
        retry = try Timer { [weak self] in self?.connect() }
        connect()
    }

    // MARK: Calls

    /// Queues a start job, or one that stops the unit first where it is active. The unit's file is loaded unless
    /// systemd holds a copy.
    func queueStart(_ unit: String, restarting: Bool) async throws(BusError) -> Job {
        try await queueJob(restarting ? "RestartUnit" : "StartUnit", unit)
    }

    func stopUnit(_ unit: String) async throws(BusError) -> Job { try await queueJob("StopUnit", unit) }

    /// Has systemd forget a unit's failure and its count of starts before it is asked anything else. A unit that is not
    /// loaded has neither, of which systemd would complain.
    func resetFailedUnit(_ unit: String) throws(BusError) {
        guard let bus else { throw .local(.notConnected) }
        do throws(SystemError) {
            try bus.send(Self.manager("ResetFailedUnit")) { writer throws(SystemError) in try writer.string(unit) }
        } catch {
            throw .local(error)
        }
    }

    /// The state of a unit in systemd's latest word on it; nil for one that was never loaded since the connection
    /// stands.
    func state(of name: ServiceName) -> UnitState? { states[name]?.value }

    /// How long systemd waits for a unit's processes to end after SIGTERM; nil for ever.
    func stopTimeout(of unit: String) async throws(BusError) -> Duration? {
        guard let path = try await path(of: unit) else { return nil }
        let get = BusMethod(path: path, interface: Self.propertiesInterface, member: "Get")
        return try await call(get, timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string(Self.serviceInterface)
            try writer.string("TimeoutStopUSec")
        } decode: { reply throws(SystemError) in
            var microseconds: UInt64 = 0
            try reply.variant { () throws(SystemError) in microseconds = try reply.uint64() }
            return Int64(exactly: microseconds).map { .microseconds($0) }
        }
    }

    /// Kills all processes of a unit.
    func kill(_ unit: String) async throws(BusError) {
        try await call(Self.manager("KillUnit"), timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string(unit)
            try writer.string("all")
            try writer.int32(Self.killSignal)
        }
    }

    /// Forgets the state of a unit of no service, unless it runs.
    func forgetState(of name: ServiceName) {
        if state(of: name)?.activeState.isDead ?? false { states[name] = nil }
    }

    /// Removes what was set for a unit by hand: its drop-ins in /etc and /run.
    func revert(_ unit: String) async throws(BusError) {
        try await call(Self.manager("RevertUnitFiles"), timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.strings([unit])
        }
    }

    /// Thaws a frozen unit, which systemd from version 256 on neither stops nor restarts.
    func thaw(_ unit: String) async throws(BusError) {
        try await call(Self.manager("ThawUnit"), timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string(unit)
        }
    }

    /// Makes sure that the unit's next start runs what is on disk now: reloads systemd when, and only when, it holds an
    /// older copy. Reading a property of a unit that is not loaded would load it, so that is asked first; false for
    /// one.
    @discardableResult
    func forgetStaleCopy(of unit: String) async throws(BusError) -> Bool {
        guard let path = try await path(of: unit) else { return false }
        let get = BusMethod(path: path, interface: Self.propertiesInterface, member: "Get")
        let isStale = try await call(get, timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string(Self.unitInterface)
            try writer.string("NeedDaemonReload")
        } decode: { reply throws(SystemError) in
            var isStale = false
            try reply.variant { () throws(SystemError) in isStale = try reply.bool() }
            return isStale
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

    /// Waits for systemd's last word on a unit whose stop has ended.
    func settle(_ unit: String) async throws(BusError) {
        _ = try await lastWord(on: unit) { [self] () throws(BusError) in
            try await settle()
            return true
        }
    }

    /// Makes sure that nothing is left in systemd of a unit whose stop has ended and whose file is gone.
    func forget(_ unit: String) async throws(BusError) {
        let isHeld = try await lastWord(on: unit) { [self] () throws(BusError) in
            // Before that it may still be about to let go of the unit.
            try await settle()
            return try await path(of: unit) != nil
        }
        if isHeld { try await forgetStaleCopy(of: unit) }
    }

    /// From now on it counts that systemd lets go of a unit, for the next ``forget(_:)``.
    func expectRelease(of unit: String) { releases[unit] = Promise() }

    /// Waits until systemd lets go of a unit, as it does with one that has stopped and that nothing else holds, or
    /// until a question is answered whether it still has it. With many units in systemd an answer takes milliseconds
    /// longer.
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

    /// Waits until systemd has sent everything that it had to say before now: what it answers comes after that.
    func settle() async throws(BusError) {
        try await call(Self.ping, timeout: Self.callTimeout)
    }

    /// The number of systemd's version: "252.39-1~deb12u1" is 252. Nil where it has none.
    func versionNumber() async throws(BusError) -> Int? {
        let get = BusMethod(path: Self.objectPath, interface: Self.propertiesInterface, member: "Get")
        return try await call(get, timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string(Self.managerInterface)
            try writer.string("Version")
        } decode: { reply throws(SystemError) in
            var text = ""
            try reply.variant { () throws(SystemError) in text = try reply.string() }
            return Int(text.prefix { ("0"..."9").contains($0) })
        }
    }

    /// Takes note that a unit was frozen or thawed, of which systemd sends no signal.
    func noticeFreezing(of name: ServiceName, isFrozen: Bool) {
        guard var state = states[name]?.value, state.isFrozen != isFrozen else { return }
        state.isFrozen = isFrozen
        publish(state, of: name)
    }

    /// Whether systemd answers, as of at most a second ago: anybody may ask, and systemd is not to feel it.
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

    /// Asks for the state of every unit of ours that is loaded; the answers come through `unitChanged`. What
    /// `recall` knows by what the list says of a unit is not asked for: a unit's properties are many, and it takes
    /// systemd the better part of a millisecond to tell them.
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
                    // Inside the callback: what systemd says next changes what it says here.
                    if let state = recall(name, unit) {
                        self?.publish(state, of: name)
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
                // A unit that systemd cannot tell about must not hide the others.
                continue
            }
        }
    }

    /// Asks for the state of journald's unit; signals change it from then on.
    func readJournalState() async throws(BusError) {
        let get = BusMethod(path: Self.journalPath, interface: Self.propertiesInterface, member: "Get")
        try await call(get, timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string(Self.unitInterface)
            try writer.string("ActiveState")
        } decode: { [weak self] reply throws(SystemError) in
            var state = ""
            try reply.variant { () throws(SystemError) in state = try reply.string() }
            // Inside the callback: the next message may have a newer one.
            self?.journalState = ActiveState(rawValue: state)
        }
    }

    /// The job that a unit is known to have queued.
    func job(of unit: String) -> Job? { jobs.values.first { $0.unit == unit }?.job }

    private func readState(of name: ServiceName, at path: String) async throws(BusError) {
        // The empty interface stands for all of them.
        let getAll = BusMethod(path: path, interface: Self.propertiesInterface, member: "GetAll")
        try await call(getAll, timeout: Self.callTimeout) { writer throws(SystemError) in
            try writer.string("")
        } decode: { [weak self] reply throws(SystemError) in
            var state = UnitState()
            let job = try UnitProperties.apply(reply, to: &state)
            self?.adopt(job, of: name)
            self?.publish(state, of: name)
        }
    }

    /// What systemd says about itself: its version, and when the kernel or, in a container, systemd was started.
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

    /// Reloads systemd's configuration. Callers that wait at the same time share one reload, which begins after the
    /// last of them has asked.
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

    /// Calls a method, and counts how long that takes however it ends.
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

    /// Calls a method whose reply carries nothing that matters.
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

    /// The connection is made in the background: the first answer shows that it stands.
    private func greet() async {
        do throws(BusError) {
            try await settle()
        } catch {
            // The disconnect that goes with it schedules the next attempt; a peer that is there and does not answer
            // has to be dropped.
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

    /// Takes note of a loss of the connection that a call has met before its handler was called.
    func noticeLoss() {
        if let bus, !bus.isOpen { lost() }
    }

    /// Drops the connection and makes another.
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
            var state = states[name]?.value ?? UnitState()
            let job = try UnitProperties.apply(message, to: &state)
            if interface == Self.serviceInterface {
                // The unit's own signal follows at once and completes the picture; between the two it would show a new
                // process in an old state.
                states[name] = Box(state)
            } else if interface == Self.unitInterface {
                publish(state, of: name)
                if let job { endJobs(of: unit, but: job) }
            }
        } catch {
            // systemd does not send such a message; reading everything again is the way back to the truth.
            EventLoop.start { [weak self] in try? await self?.readStates { _, _ in nil } }
        }
    }

    private func journalChanged(_ message: borrowing MessageReader) {
        do throws(SystemError) {
            guard try message.string() == Self.unitInterface else { return }
            var state = UnitState()
            // Stays when the signal says nothing of it.
            if let journalState { state.activeState = journalState }
            _ = try UnitProperties.apply(message, to: &state)
            journalState = state.activeState
        } catch {
            // systemd does not send such a message.
            journalState = nil
        }
    }

    private func unitRemoved(_ message: borrowing MessageReader) {
        // A message that is not as documented releases nothing; the question is answered.
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
            // A message that is not as documented ends no job; the wait for it has a time-out.
        }
    }

    /// Takes note of a job that was queued before the connection stood.
    private func adopt(_ path: String?, of name: ServiceName) {
        guard let path, path != "/", jobs[path] == nil else { return }
        jobs[path] = (UnitName.unit(of: name), Job())
    }

    /// Ends what is left of a unit's jobs but the one that it has. Their JobRemoved signals were sent before; had one
    /// been lost, the wait for it would not end.
    private func endJobs(of unit: String, but path: String) {
        for (other, entry) in jobs where entry.unit == unit && other != path {
            jobs[other] = nil
            entry.job.end(.success("unknown"))
        }
    }

    private func publish(_ state: UnitState, of name: ServiceName) {
        states[name] = Box(state)
        observer?.unitChanged(name, state)
    }
}
