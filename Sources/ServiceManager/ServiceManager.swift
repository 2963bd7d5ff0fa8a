public import Services
public import Systemd

/// The service manager: writes records and unit files, controls units through systemd, and tracks their states.
///
/// Status requests are answered from memory, which systemd's signals keep up to date; no request waits for systemd. The
/// state is in the parts, each of which owns its own: Sources/ARCHITECTURE.md. This class connects them.
@EventLoopActor
public final class ServiceManager {
    /// The settings of the service manager.
    public struct Configuration: Sendable {
        public var layout: StateLayout
        /// The manager's private socket.
        public var systemdSocket = "/run/systemd/private"
        /// Where systemd publishes the invocation id of each unit.
        public var invocationDirectory = "/run/systemd/units"
        /// Where the kernel shows processes: proc(5).
        public var processDirectory = "/proc"
        /// The id of this boot.
        public var bootID: Identifier
        /// The maximum number of services.
        public var servicesLimit = 4096
        /// The time-out of the wait for a job. A job ends within the unit's stop time-out, or twice that for a start
        /// that stops first; a longer one means that systemd is in trouble.
        public var jobTimeout = Duration.seconds(60)
        /// How long a request that needs systemd waits for a starting agent: at boot systemd starts all services before
        /// it answers.
        public var startPatience = Duration.seconds(20)
        /// How long an operation waits for the disk.
        public var diskPatience = Duration.seconds(5)
        /// The PATH that systemd gives to services.
        public var systemPath = "systemd's own"

        public init(layout: StateLayout, bootID: Identifier) {
            self.layout = layout
            self.bootID = bootID
        }
    }

    let configuration: Configuration
    let messages: MessageLog
    private let statusChanged: @EventLoopActor (Summary) -> Void
    let services = ServiceTable()
    let connectivity = Connectivity()
    let operationQueue = KeyedSerialQueue<ServiceName>()
    let changes = Changes()
    let announcements: Announcements
    let systemd: SystemdClient
    let logs: Logs
    let ports: PortOwners
    let desired: DesiredState
    let diagnosis: Diagnosis
    let runs: Runs
    let observation: Observation
    let convergence: Convergence
    let operations: Operations
    let openStreams = OpenStreams()
    let shares = AccountShares()
    /// Files of records that could not be read.
    private(set) var unreadableRecords: [String] = []
    private var summary: Summary?

    /// The numbers of services, for a status line.
    public struct Summary: Equatable, Sendable {
        public var services = 0
        public var running = 0
        public var failed = 0
    }

    /// `report` gets messages for the log; `statusChanged` gets the numbers of services after each change of one, and
    /// `removed` the name of a service that was deleted. Throws when an event source cannot be made.
    public init(
        _ configuration: Configuration,
        report: @escaping @EventLoopActor (LogMessage) -> Void,
        statusChanged: @escaping @EventLoopActor (Summary) -> Void,
        removed: @escaping @EventLoopActor (ServiceName) -> Void = { _ in }
    ) throws(SystemError) {
        self.configuration = configuration
        self.statusChanged = statusChanged
        let messages = MessageLog(report: report)
        self.messages = messages
        systemd = SystemdClient(socketPath: configuration.systemdSocket)
        announcements = Announcements(services, connectivity)
        ports = PortOwners(services: services)
        let bootID = configuration.bootID.description
        let owner = Owner()
        desired = try DesiredState(
            configuration.layout,
            bootID: bootID,
            diskPatience: configuration.diskPatience,
            services,
            announcements,
            changes,
            messages,
            isBusy: { [operationQueue] in operationQueue.isBusy },
            willWrite: { owner.manager?.countServices() }
        )
        logs = Logs(services, desired.removed, bootID: bootID)
        diagnosis = Diagnosis(
            services,
            desired,
            announcements,
            changes,
            logs,
            ports,
            systemd,
            messages,
            systemPath: configuration.systemPath
        )
        runs = try Runs(services, desired, systemd, ports, announcements, messages, bootID: bootID)
        observation = Observation(
            services,
            desired,
            systemd,
            connectivity,
            operationQueue,
            diagnosis,
            runs,
            announcements,
            messages,
            configuration.layout,
            bootID: bootID,
            invocationDirectory: configuration.invocationDirectory,
            processDirectory: configuration.processDirectory
        )
        convergence = Convergence(
            services,
            desired,
            systemd,
            connectivity,
            operationQueue,
            diagnosis,
            changes,
            messages,
            configuration.layout,
            jobTimeout: configuration.jobTimeout,
            willStop: { [runs] in runs.willStop($0) },
            forgotten: { [observation, logs, runs] name in
                runs.forget(name)
                observation.forget(name)
                logs.wake()
                removed(name)
            }
        )
        operations = Operations(
            services,
            desired,
            convergence,
            observation,
            systemd,
            announcements,
            messages,
            servicesLimit: configuration.servicesLimit
        )
        owner.manager = self
    }

    /// For the parts that are made before the manager is complete.
    @EventLoopActor
    private final class Owner {
        weak var manager: ServiceManager?
    }

    /// Reads the records, repairs what an interrupted operation left, and connects to systemd. `isReady` becomes true
    /// when the states are known; it is no error when systemd is not reachable. Throws when a directory cannot be read
    /// or written.
    public func start() throws(SystemError) {
        unreadableRecords = try desired.load()
        try observation.start()
        try systemd.start(
            SystemdClient.Observer(
                connected: { [weak self] in self?.connected() },
                disconnected: { [weak self] in self?.disconnected() },
                reloaded: { [weak self] in self?.observation.reloaded() },
                unitChanged: { [weak self] name, state in self?.observation.unitChanged(name, state) }
            )
        )
    }

    private func connected() {
        EventLoop.start { [weak self] in
            guard let self, await observation.read() else { return }
            convergence.followStarts()
            convergence.convergeOutstanding()
            connectivity.establish()
            announcements.announceAll()
            for name in services.names { diagnosis.begin(of: name) }
            connectivity.complete()
            countServices()
            desired.flush()
        }
    }

    private func disconnected() {
        guard isReady else { return }
        connectivity.lose("the connection to systemd is lost")
        observation.suspend()
        messages.notice(.warning, "the connection to systemd is lost; connecting again")
    }

    /// The version and the start time of systemd; nil while it is not reachable.
    public func describeSystemd() async -> (version: String?, startedAt: Timestamp?)? {
        // An error means unknown.
        try? await systemd.describe()
    }

    /// The stream addresses of failed socket units that would start this process's unit: systemd opens no socket of a
    /// unit that is active. Nil when systemd cannot be asked.
    public func failedListenAddresses() async -> [String]? {
        try? await systemd.failedListenAddresses(ofUnitWith: UInt32(ProcessContext.processID))
    }

    /// The process that keeps others from listening on an address, as "the service 'web'" or "nginx.service (nginx, pid
    /// 812)"; nil if there is none or it is not known.
    public func holder(of address: SocketAddress) -> String? { ports.holder(of: address) }

    /// The same for a process that manages no services: by unit alone.
    public static func holder(of address: SocketAddress) -> String? {
        PortOwners(services: ServiceTable()).holder(of: address)
    }

    /// Whether the kernel reports of which service a listening socket is.
    public nonisolated static var arePortOwnersKnown: Bool { PortOwners.areKnown }

    /// Whether there is a service of that name.
    public func hasService(named name: String) -> Bool { ServiceName(name).map { services[$0] != nil } ?? false }

    /// Whether the states of the units are known and up to date.
    public var isReady: Bool { connectivity.isReady }

    /// Why the states of the units are not known; nil while they are.
    public var outage: String? { connectivity.outage }

    /// Writes outstanding changes to disk. Called last, before the process exits.
    public func finish() { desired.finish() }

    private func countServices() {
        var counts = Summary(services: services.count)
        for service in services.values {
            switch service.snapshot.status {
            case .running, .starting: counts.running += 1
            case .failed: counts.failed += 1
            case .stopped, .removed: break
            }
        }
        guard counts != summary, isReady else { return }
        summary = counts
        statusChanged(counts)
    }
}
