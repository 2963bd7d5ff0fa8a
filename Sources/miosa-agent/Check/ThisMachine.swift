internal import ServiceManager
internal import Systemd

extension Check {
    private static let unitName = "miosa-agent.service"
    private static let socketNames =
        ["", "-tcp", "-tcp6", "-vsock"].map { "miosa-agent\($0).socket" } + [accountsSocketName]

    /// The agent of this machine: its unit, or this process where systemd has no such unit or cannot be asked. `flags`
    /// come before the unit's own.
    @EventLoopActor
    static func ofThisMachine(_ flags: [String: String], machineID: String?) async -> Check {
        var sockets: [(name: String, unit: AgentUnit)] = []
        let origin: SettingsOrigin
        do throws(BusError) {
            let unit = try await AgentUnit.load(unitName)
            if unit.loadState == "not-found" {
                origin = ofThisProcess(flags, because: "there is no \(unitName)")
            } else {
                let further = unit.triggeredBy.filter { $0.hasSuffix(".socket") && !socketNames.contains($0) }
                for name in socketNames + further.sorted() {
                    let socket = try await AgentUnit.load(name)
                    if socket.loadState != "not-found" { sockets.append((name, socket)) }
                }
                origin = SettingsOrigin(of: unit, flags: flags)
            }
        } catch {
            origin = ofThisProcess(flags, because: "systemd cannot be asked (\(error))")
        }
        return Check(
            origin,
            tokenFiles: TokenFiles(in: TokenFiles.directory),
            machineID: machineID,
            sockets: sockets,
            commandLine: KernelFile.text("/proc/cmdline") ?? ""
        )
    }

    private static func ofThisProcess(_ flags: [String: String], because reason: String) -> SettingsOrigin {
        let environment = ProcessContext.environment()
        let directory = environment["CREDENTIALS_DIRECTORY"]
        return SettingsOrigin(flags: flags, environment: environment, because: reason) { name in
            (try? Credentials.text(name, directory: directory)) ?? nil
        }
    }
}
