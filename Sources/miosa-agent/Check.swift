internal import API
internal import ServiceManager
internal import Systemd

/// `miosa-agent check`: prints the settings, their sources, and whether the daemon could run with them.
struct Check {
    /// Lines for standard output.
    private(set) var lines: [String] = []
    /// The reasons why the daemon could not run.
    private(set) var problems: [String] = []
    /// Why files of tokens are refused.
    private(set) var tokenProblems: [String] = []

    init(_ configuration: Configuration, tokenFiles: TokenFiles = TokenFiles(), machineID: String?) {
        let computerID = configuration.computerID ?? machineID.map { .init(value: $0, source: "machine id") }
        let settings: [(String, Configuration.Setting?)] = [
            ("computer id", computerID), ("tenant id", configuration.tenantID),
            ("socket", configuration.socket), ("listen", configuration.listen),
            ("unit directory", configuration.unitDirectory), ("state directory", configuration.stateDirectory),
            ("service user", configuration.serviceUser), ("group", configuration.group),
            ("allowed users", configuration.allowedUsers), ("hosts", configuration.hosts),
            ("log level", configuration.logLevel),
        ]
        for (name, setting) in settings {
            let value = setting.map { $0.value.isEmpty ? "(none)" : $0.value } ?? "(none)"
            let padding = String(repeating: " ", count: 16 - name.count)
            lines.append("\(name)\(padding)\(value)\(setting.map { "  [\($0.source)]" } ?? "")")
        }
        do throws(Configuration.Problems) {
            let valid = try ValidConfiguration(configuration, tokenFiles: tokenFiles, machineID: machineID)
            for identity in valid.identities.all {
                let source = tokenFiles.identities.contains { $0 === identity } ? "file" : "credential"
                lines.append("identity        \(identity.name): \(identity.role.rawValue)  [\(source)]")
            }
            if valid.identities.isEmpty { lines.append("identity        (none): clients over TCP are refused") }
            tokenProblems = valid.tokenProblems
            checkSurroundings(valid)
        } catch {
            problems = error.all
        }
    }

    private mutating func checkSurroundings(_ configuration: ValidConfiguration) {
        if !ProcessContext.isRoot { problems.append("not root: unit files cannot be written") }
        if !ProcessContext.isManagedBySystemd { problems.append("systemd does not run this machine: sd_booted(3)") }
        if !ProcessContext.accountExists(configuration.serviceUser) {
            problems.append("the account '\(configuration.serviceUser)' does not exist")
        }
        if !ServiceManager.arePortOwnersKnown {
            lines.append(
                "note: the kernel does not report the cgroup of a listening socket (before Linux 5.9, or without cgroup"
                    + " v2): 'wait=ready' takes any socket of the service's account, which is less certain"
            )
        }
        do throws(SystemError) {
            _ = try Directory(configuration.layout.unitDirectory)
        } catch {
            problems.append("the unit directory cannot be opened: \(error.reason)")
        }
    }
}
