internal import API
internal import HTTP
internal import HTTPServer
internal import ServiceManager
internal import Services
internal import Systemd

/// The daemon: creates the parts, and stops them on a signal.
@EventLoopActor
final class Daemon {
    private let log: Log
    private let manager: ServiceManager
    private let answers: IdempotencyStore
    private let audit: Audit
    private let front: RequestDispatch
    private let server: Server
    /// Reads the configuration again.
    private let reconfigure: () throws(StartFailure) -> ValidConfiguration
    private var signals: [SignalWatch] = []
    private let listeners: Listeners
    private var isReady = false

    private init(
        _ configuration: ValidConfiguration,
        bootID: Identifier,
        _ log: Log,
        reconfigure: @escaping () throws(StartFailure) -> ValidConfiguration
    ) throws(SystemError) {
        self.log = log
        self.reconfigure = reconfigure
        weak var daemon: Daemon?
        var supervision = ServiceManager.Configuration(layout: configuration.layout, bootID: bootID)
        // systemd sets the same PATH for all services.
        if let path = ProcessContext.environment()["PATH"] { supervision.systemPath = path }
        let manager = try ServiceManager(
            supervision,
            report: { log.write($0) },
            statusChanged: { daemon?.tellStatus($0) },
            removed: { daemon?.answers.hideValues(of: $0.description) }
        )
        self.manager = manager
        let answers = IdempotencyStore(configuration.layout) { manager.hasService(named: $0) }
        self.answers = answers
        let audit = try Audit(configuration.layout, report: { log.write($0) })
        self.audit = audit
        let metrics = AgentMetrics()
        metrics.streams = {
            let (logs, events) = manager.streamCounts
            return AgentMeasurements.Streams(logs: logs, events: events)
        }
        metrics.audit = { AgentMeasurements.Audit(unwritten: audit.unwrittenCount, dropped: audit.droppedCount) }
        let requestIDs = try IdentifierSequence()
        let accounts = Accounts()
        let api = API(
            API.Configuration(
                computer: configuration.computer,
                hosts: Hosts(configured: configuration.hosts) { name in
                    name == ProcessContext.hostname().lowercased() || LocalAddresses.contains(name)
                },
                identities: configuration.identities,
                defaults: SpecDraft.Defaults(
                    user: configuration.serviceUser,
                    allowedUsers: configuration.allowedUsers
                ),
                account: { uid in EventLoopActor.assumeIsolated { accounts.account(of: uid) } }
            ),
            control: manager,
            answers: answers,
            audit: audit,
            describeComputer: { await Self.computer(manager, bootID: bootID) },
            now: { Timestamp(microseconds: WallClock.now().microseconds) },
            measureAgent: { await metrics.measure() },
            makeRequestID: { requestIDs.next().description }
        )
        let groupID = ProcessContext.groupID(of: configuration.group)
        if groupID == nil {
            log.write(.notice, "there is no group '\(configuration.group)': root alone may use the Unix socket")
        }
        front = try RequestDispatch(api, log, metrics, accounts, groupID: groupID)
        server = try Server(front.handler)
        listeners = try Listeners(
            server,
            socket: configuration.socket,
            addresses: configuration.addresses,
            log,
            holder: { manager.holder(of: $0) },
            failedAddresses: { await manager.failedListenAddresses() }
        )
        daemon = self
    }

    /// Runs the daemon on the loop until a signal ends it; returns the exit status. `bootID` is the boot id as the
    /// service manager has it; nil: the kernel's. `reconfigure` reads the configuration again. Throws why the daemon
    /// cannot start.
    static func run(
        _ configuration: ValidConfiguration,
        bootID: Identifier?,
        _ log: Log,
        reconfigure: @escaping () throws(StartFailure) -> ValidConfiguration
    ) throws(StartFailure) -> Int32 {
        let lock = try lock(configuration.layout.stateDirectory)
        defer { withExtendedLifetime(lock) {} }
        do throws(SystemError) {
            let bootID = if let bootID { bootID } else { try Identifier.boot() }
            let daemon = try Daemon(configuration, bootID: bootID, log, reconfigure: reconfigure)
            try daemon.start()
            return try withExtendedLifetime(daemon) { () throws(SystemError) in try EventLoop.shared.run() }
        } catch {
            throw StartFailure(reasons: [error.description])
        }
    }

    /// Locks the state directory: a second agent on it would treat the first one's changes as a person's.
    private static func lock(_ path: String) throws(StartFailure) -> DirectoryLock {
        let lock: DirectoryLock?
        do throws(SystemError) {
            lock = try DirectoryLock(path, creatingWithMode: 0o700)
        } catch {
            throw StartFailure(reasons: ["cannot lock the state directory '\(path)': \(error)"])
        }
        guard let lock else { throw StartFailure(reasons: ["another agent uses the state directory '\(path)'"]) }
        return lock
    }

    private func start() throws(SystemError) {
        for signal in [Signal.terminate, .interrupt] {
            signals.append(try SignalWatch(signal) { [weak self] _ in self?.stop() })
        }
        signals.append(try SignalWatch(.hangUp) { [weak self] in $0.reply(self?.reload() ?? false ? 0 : 1) })
        try manager.start()
        try answers.prepare()
        audit.prepare()
        try EventLoop.shared.enableWatchdog()
        listeners.serve()
        // READY=1 now: at boot systemd starts all services before it reports their states, and units ordered after the
        // agent would wait for that.
        Notifier.ready(status: "Waiting for systemd to tell the states of the services")
    }

    /// Completes open requests, writes changes to disk, and ends the loop. Services keep running.
    private func stop() {
        listeners.stop()
        Notifier.stopping()
        log.write(.info, "stopping; services go on")
        server.drain { [manager, audit] in
            manager.finish()
            audit.finish()
            EventLoop.shared.exit(code: 0)
        }
    }

    /// `systemctl reload`: reads the tokens again; false when that fails. Other settings need a restart of the agent,
    /// which clients do not notice.
    private func reload() -> Bool {
        let configuration: ValidConfiguration
        do throws(StartFailure) {
            configuration = try reconfigure()
        } catch {
            return refuseToReload(because: error.reasons)
        }
        guard configuration.tokenProblems.isEmpty else { return refuseToReload(because: configuration.tokenProblems) }
        let former = front.identities
        let identities = configuration.identities.keeping(former)
        front.identities = identities
        server.close { client in (client.identity as? Identity).map { !identities.contains($0) } ?? false }
        log.write(.notice, "reloaded: \(identities.changes(since: former))")
        return true
    }

    private func refuseToReload(because reasons: [String]) -> Bool {
        for reason in reasons { log.write(.error, "cannot reload: \(reason); nothing has changed") }
        return false
    }

    private func tellStatus(_ summary: ServiceManager.Summary) {
        let text = "Services: \(summary.services), running: \(summary.running), failed: \(summary.failed)"
        Notifier.status(text)
        guard !isReady else { return }
        isReady = true
        listeners.replaceFailed()
        log.write(.info, "ready. \(text)")
        ProcessMemory.releaseProgram()
    }

    // MARK: What the API asks for

    private static func computer(_ manager: ServiceManager, bootID: Identifier) async -> Computer {
        let systemd = await manager.describeSystemd()
        return Computer(
            hostname: ProcessContext.hostname(),
            bootID: bootID.description,
            bootedAt: systemd?.startedAt,
            agentVersion: Version.text,
            systemdVersion: systemd?.version
        )
    }
}

extension Log {
    /// Logs a request and its answer, without body, query and header, which can hold secrets.
    /// `refusedBefore` is the number of requests that were refused before this one without a message.
    func write(
        _ reply: API.Reply,
        _ head: RequestHead?,
        _ caller: Caller,
        _ duration: Duration,
        refusedBefore: Int = 0
    ) {
        let status = reply.response.status.code
        // Successful reads are frequent: they are logged at debug level only.
        let isRead = head?.method == .get || head?.method == .head
        let method = head?.method.rawValue ?? "-"
        let path = head?.target.path ?? "-"
        write(
            status >= 500 ? .warning : isRead && status < 400 ? .debug : .info,
            "\(method) \(path) \(status)" + (refusedBefore > 0 ? ", and \(refusedBefore) refused before it" : ""),
            [
                ("MIOSA_REQUEST_ID", reply.requestID),
                ("MIOSA_METHOD", method),
                ("MIOSA_PATH", path),
                ("MIOSA_STATUS", String(status)),
                ("MIOSA_DURATION_USEC", String(Int(duration / .microseconds(1)))),
            ] + fields(of: caller, reply.identity) + (reply.service.map { [("MIOSA_SERVICE", $0)] } ?? [])
        )
    }

    /// The fields about the client.
    private func fields(of caller: Caller, _ identity: Identity?) -> [Field] {
        let peer: [Field] =
            switch caller {
            case .unix(let uid, let gid, let pid, _):
                [("MIOSA_PEER_UID", String(uid)), ("MIOSA_PEER_GID", String(gid)), ("MIOSA_PEER_PID", String(pid))]
            case .account(let uid, let pid, _): [("MIOSA_PEER_UID", String(uid)), ("MIOSA_PEER_PID", String(pid))]
            case .tcp(let address): [("MIOSA_PEER_ADDRESS", address)]
            case .vsock(let contextID, _): [("MIOSA_PEER_CID", contextID.map { String($0) } ?? "unknown")]
            }
        return peer + (identity.map { [("MIOSA_IDENTITY", $0.name)] } ?? [])
    }

    func write(_ notice: LogMessage) {
        let priority: JournalWriter.Priority =
            switch notice.severity {
            case .information: .info
            case .warning: .warning
            case .error: .error
            }
        let prefix = notice.service.map { "service '\($0)': " } ?? ""
        write(priority, prefix + notice.text, notice.service.map { [("MIOSA_SERVICE", $0)] } ?? [])
    }
}
