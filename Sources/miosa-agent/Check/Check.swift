internal import API
internal import ServiceManager
internal import Services
internal import Systemd

/// `miosa-agent check`: what the agent of this machine runs with, and everything that is wrong with it.
struct Check {
    /// How bad a finding is.
    enum Severity: String {
        /// The agent does not start.
        case cannotRun = "cannot run"
        /// Something that was configured does not hold.
        case fault
        case warning
        case note
    }

    struct Finding: Equatable {
        let severity: Severity
        let text: String
    }

    /// An address that clients can call.
    struct Listener: Equatable {
        let address: String
        /// The socket unit; nil for an address of the configuration.
        let unit: String?
        /// `listening`, `opened by the agent`, `skipped`, `closed`.
        let state: String
        /// The owner of the port of a closed one, if that is known.
        let holder: String?
    }

    /// The settings and their sources, without secrets.
    private(set) var settings: [(name: String, value: String?, source: String?)] = []
    private(set) var identities: [(name: String, role: String, source: String)] = []
    private(set) var listeners: [Listener] = []
    private(set) var findings: [Finding] = []
    /// The unit that the settings are from; nil for those of this process.
    let unit: AgentUnit?

    /// Whether nothing has to be corrected.
    var isGood: Bool { !findings.contains { $0.severity == .cannotRun || $0.severity == .fault } }

    /// Checks a configuration. `sockets` are the socket units by name, `commandLine` is the kernel's.
    @EventLoopActor
    init(
        _ origin: SettingsOrigin,
        tokenFiles: TokenFiles = TokenFiles(),
        machineID: String?,
        sockets: [(name: String, unit: AgentUnit)] = [],
        commandLine: String = ""
    ) {
        unit = origin.unit
        findings = origin.findings
        let configuration = origin.configuration
        let computerID = configuration.computerID ?? machineID.map { .init(value: $0, source: "machine id") }
        let all: [(String, Configuration.Setting?)] = [
            ("computer id", computerID), ("tenant id", configuration.tenantID),
            ("socket", configuration.socket), ("listen", configuration.listen),
            ("unit directory", configuration.unitDirectory), ("state directory", configuration.stateDirectory),
            ("service user", configuration.serviceUser), ("group", configuration.group),
            ("allowed users", configuration.allowedUsers), ("hosts", configuration.hosts),
            ("log level", configuration.logLevel),
        ]
        for (name, setting) in all {
            let value = setting.flatMap { $0.value.isEmpty ? nil : $0.value }
            let place = setting.flatMap { origin.places[$0.source] }
            settings.append((name, value, setting.map { $0.source + (place.map { " in \($0)" } ?? "") }))
        }
        do throws(Configuration.Problems) {
            _ = try ValidConfiguration(configuration, tokenFiles: tokenFiles, machineID: machineID)
        } catch {
            for problem in error.all { add(.cannotRun, problem) }
        }
        let (valid, problems) = ValidConfiguration.identities(tokenFiles, credential: configuration.token)
        for identity in valid.all {
            let source = tokenFiles.identities.contains { $0 === identity } ? "file" : "credential"
            identities.append((identity.name, identity.role.rawValue, source))
        }
        if valid.isEmpty { add(.note, "there is no token: clients over TCP are refused") }
        for problem in problems { add(.fault, "refused: \(problem)") }
        checkSurroundings(configuration)
        checkListeners(sockets, configuration.listen.value.split(separator: " ").compactMap { .init(ip: String($0)) })
        checkCommandLine(commandLine, valid)
    }

    private mutating func add(_ severity: Severity, _ text: String) {
        findings.append(Finding(severity: severity, text: text))
    }

    // MARK: The machine

    private mutating func checkSurroundings(_ configuration: Configuration) {
        if !ProcessContext.isRoot { add(.cannotRun, "not root: unit files cannot be written") }
        if !ProcessContext.isManagedBySystemd { add(.cannotRun, "systemd does not run this machine: sd_booted(3)") }
        let user = configuration.serviceUser.value
        let allowed = configuration.allowedUsers.value.split(separator: " ").map(String.init)
        for account in Set([user] + allowed).sorted() where !ProcessContext.accountExists(account) {
            add(account == user ? .cannotRun : .fault, "the account '\(account)' does not exist")
        }
        let group = configuration.group.value
        if ProcessContext.groupID(of: group) == nil {
            add(.warning, "there is no group '\(group)': root alone may use the Unix socket")
        }
        for (name, path) in [
            ("unit", configuration.unitDirectory.value), ("state", configuration.stateDirectory.value),
        ]
        where path.hasPrefix("/") {
            checkDirectory(path, name)
        }
        if !ServiceManager.arePortOwnersKnown {
            add(
                .note,
                "the kernel does not report the cgroup of a listening socket (before Linux 5.9, or without cgroup v2):"
                    + " 'wait=ready' takes any socket of the service's account, which is less certain"
            )
        }
    }

    private mutating func checkDirectory(_ path: String, _ name: String) {
        do throws(SystemError) {
            let directory = try Directory(path)
            if try directory.isWritableByOthers(".") {
                add(.fault, "another account than root can write into the \(name) directory '\(path)'")
            }
            try directory.checkWritable()
        } catch let error where error.isNotFound && name == "state" && unit?.isRunning != true {
            // The first start makes it.
        } catch {
            add(.cannotRun, "the \(name) directory '\(path)' cannot be used: \(error.reason)")
        }
        guard let unit, unit.protectSystem == "strict", path != "/var/lib/miosa-agent" else { return }
        let isWritable = unit.readWritePaths.contains { entry in
            let allowed = entry.drop { "-+".contains($0) }
            return path == allowed || path.hasPrefix(allowed.hasSuffix("/") ? String(allowed) : allowed + "/")
        }
        if !isWritable {
            add(.cannotRun, "the unit makes the \(name) directory '\(path)' read-only: it needs ReadWritePaths=\(path)")
        }
    }

    // MARK: Listeners

    /// The socket unit for all accounts, which is not enabled by default.
    static let accountsSocketName = "miosa-agent-user.socket"

    @EventLoopActor
    private mutating func checkListeners(_ sockets: [(name: String, unit: AgentUnit)], _ addresses: [SocketAddress]) {
        for (name, socket) in sockets {
            if socket.loadState == "masked" { add(.note, "\(name) is masked") }
            if name == Self.accountsSocketName, socket.activeState == "inactive" { continue }
            for address in socket.streams { checkListener(address, name, socket) }
        }
        for address in addresses where unit?.isRunning ?? false {
            checkPort(of: address.description, nil, "the agent tries again within a minute")
        }
    }

    @EventLoopActor
    private mutating func checkListener(_ address: String, _ name: String, _ socket: AgentUnit) {
        func append(_ state: String) {
            listeners.append(Listener(address: address, unit: name, state: state, holder: nil))
        }
        switch socket.activeState {
        case "active": append("listening")
        case "failed" where address.hasPrefix("vsock:"):
            // The kernel does not tell whose such a socket is.
            append("failed")
            let place = "the agent's log tells whether it has opened \(address)"
            add(.warning, "\(name) has failed (\(socket.result)): \(place)")
        case "failed":
            checkPort(of: address, name, "\(name) has failed (\(socket.result))")
        default:
            append(socket.conditionResult ? "closed" : "skipped")
            if !socket.conditionResult {
                add(.note, "\(name) is skipped: this machine does not have what its conditions ask for")
            } else if unit?.isRunning ?? false {
                add(.warning, "\(name) is \(socket.activeState): \(address) is not open")
            }
        }
    }

    @EventLoopActor
    private mutating func checkPort(of address: String, _ name: String?, _ reason: String) {
        let holder = SocketAddress(ip: address).flatMap { ServiceManager.holder(of: $0) }
        let isOwn = holder?.hasPrefix("miosa-agent.service ") ?? false
        listeners.append(
            Listener(
                address: address,
                unit: name,
                state: isOwn ? "opened by the agent" : "closed",
                holder: isOwn ? nil : holder
            )
        )
        guard !isOwn else { return }
        add(.fault, "\(address) is not open: \(reason)" + (holder.map { "; the port is held by \($0)" } ?? ""))
    }

    // MARK: Secrets

    /// Every account can read the kernel's command line.
    private mutating func checkCommandLine(_ commandLine: String, _ identities: Identities) {
        let words = commandLine.split { " =:\"\n".contains($0) }
        let isNamed = words.contains { $0.hasPrefix("miosa.token") || $0 == "MIOSA_AGENT_TOKEN" }
        let isToken = words.contains { word in identities.identity(of: "Bearer \(word)") != nil }
        if isNamed || isToken {
            add(.warning, "the kernel's command line has a token, and every account can read it in /proc/cmdline")
        }
    }
}

extension AgentUnit {
    /// Whether the main process runs.
    var isRunning: Bool { mainPID > 0 }
}
