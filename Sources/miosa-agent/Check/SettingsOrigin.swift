internal import EnvironmentText
internal import ServiceManager
internal import Services
internal import Systemd

/// The settings of the next start of the agent, and where each is from.
struct SettingsOrigin {
    let configuration: Configuration
    /// The files or units that variables are from, by variable.
    private(set) var places: [String: String] = [:]
    /// What is wrong with the unit or its files.
    private(set) var findings: [Check.Finding] = []
    let unit: AgentUnit?

    /// Directories in which systemd looks for LoadCredential= with a name: systemd.exec(5), and what a container
    /// manager passes.
    private static let credentialDirectories = [
        "/run/credentials/@system", "/run/host/credentials", "/etc/credstore", "/run/credstore",
        "/usr/local/lib/credstore", "/usr/lib/credstore",
    ]

    /// The settings of this process; `reason` says why not those of the unit.
    init(
        flags: [String: String],
        environment: [String: String],
        because reason: String? = nil,
        credential: (String) -> String? = { _ in nil }
    ) {
        unit = nil
        if let reason {
            findings.append(Check.Finding(severity: .note, text: "\(reason); the settings are those of this process"))
        }
        configuration = Configuration(flags: flags, environment: environment, credential: credential)
        noteUnknown(environment)
    }

    /// The settings of a unit: what its next start gets from systemd. `flags` of this process come before its own.
    init(of unit: AgentUnit, flags: [String: String]) {
        self.unit = unit
        var findings: [Check.Finding] = []
        func add(_ severity: Check.Severity, _ text: String) {
            findings.append(Check.Finding(severity: severity, text: text))
        }
        if unit.loadState != "loaded" { add(.cannotRun, "miosa-agent.service is \(unit.loadState)") }
        if unit.activeState == "failed" { add(.fault, "miosa-agent.service has failed (\(unit.result))") }
        if unit.needsReload {
            add(.warning, "a file of miosa-agent.service has changed since systemd read it: systemctl daemon-reload")
        }
        if unit.unitFileState != "enabled", unit.loadState == "loaded" {
            add(.warning, "miosa-agent.service is \(unit.unitFileState): it is not started at boot")
        }

        if let version = unit.systemdVersion, version < UnitFile.versionWithEarlyCredentials {
            let needed = "systemd \(UnitFile.versionWithEarlyCredentials)"
            add(
                .note,
                "systemd \(version): a service with env_file can have pre_start and restart_max_delay with \(needed)"
            )
        }

        var environment: [String: String] = [:]
        for assignment in unit.environment {
            guard let equals = assignment.firstIndex(of: "=") else { continue }
            let name = String(assignment[..<equals])
            environment[name] = String(assignment[assignment.index(after: equals)...])
            places[name] = "Environment="
        }
        for (path, mayBeMissing) in unit.environmentFiles {
            do throws(SystemError) {
                var text = EnvironmentText(Array(try Self.text(path).utf8), Self.rules(unit.systemdVersion))
                while let line = text.next() {
                    guard case .variable(let name, let value) = line else { continue }
                    let variable = String(decoding: name, as: UTF8.self)
                    environment[variable] = String(decoding: value, as: UTF8.self)
                    places[variable] = path
                }
            } catch let error where !(mayBeMissing && error.isNotFound) {
                add(.cannotRun, "'\(path)' cannot be read: \(error.reason)")
            } catch {
                // It may be missing.
            }
        }
        // systemd makes it when it starts the unit.
        environment["STATE_DIRECTORY"] = "/var/lib/miosa-agent"

        var unitFlags: [String: String] = [:]
        do throws(Command.UsageError) {
            if case .serve(let given) = try Command(arguments: Array(unit.arguments.dropFirst())) { unitFlags = given }
        } catch {
            add(.cannotRun, "ExecStart=: \(error.reason)")
        }

        var credentials: [String: String] = [:]
        for id in ["computer-id", "tenant-id", "token"] {
            do throws(SystemError) {
                credentials[id] = try Self.credential(id, of: unit)
            } catch {
                add(.cannotRun, "the credential '\(id)' cannot be read: \(error.reason)")
            }
        }
        configuration = Configuration(
            flags: unitFlags.merging(flags) { $1 },
            environment: environment
        ) { credentials[$0] }
        self.findings = findings
        noteUnknown(environment)
        noteChanges(environment, unit.mainPID)
    }

    /// The first version of systemd for which a line feed ends a comment also behind a backslash.
    private static let versionWithCommentLines = 254

    /// How systemd reads an environment file; `version` is nil where that is not known.
    static func rules(_ version: Int?) -> EnvironmentText.Rules {
        .init(continuesComments: version.map { $0 < versionWithCommentLines } ?? false)
    }

    /// Misspelt settings.
    private mutating func noteUnknown(_ environment: [String: String]) {
        for variable in Configuration.unknownVariables(environment) {
            let place = places[variable].map { " in \($0)" } ?? ""
            let text = Configuration.remark(onUnknown: variable)
            findings.append(Check.Finding(severity: .fault, text: "\(variable)\(place) \(text)"))
        }
    }

    /// Settings that have changed since the running agent was started.
    private mutating func noteChanges(_ environment: [String: String], _ pid: Int) {
        guard pid > 0, let text = KernelFile.text("/proc/\(pid)/environ") else { return }
        var running: [String: String] = [:]
        for entry in text.split(separator: "\0") {
            guard let equals = entry.firstIndex(of: "=") else { continue }
            running[String(entry[..<equals])] = String(entry[entry.index(after: equals)...])
        }
        for variable in Configuration.options.map(\.variable) where running[variable] != environment[variable] {
            findings.append(
                Check.Finding(
                    severity: .warning,
                    text: "\(variable) has changed since the agent was started: systemctl restart miosa-agent"
                )
            )
        }
    }

    /// A credential: of the running unit as it got it, else as systemd would load it.
    private static func credential(_ id: String, of unit: AgentUnit) throws(SystemError) -> String? {
        if unit.isRunning { return try Credentials.text(id, directory: "/run/credentials/miosa-agent.service") }
        if let source = unit.loadedCredentials.first(where: { $0.id == id })?.source {
            let paths = source.hasPrefix("/") ? [source] : credentialDirectories.map { "\($0)/\(source)" }
            for path in paths {
                do throws(SystemError) {
                    let text = try text(path)
                    return text.hasSuffix("\n") ? String(text.dropLast()) : text
                } catch let error where error.isNotFound {
                    continue
                }
            }
        }
        let value = unit.setCredentials.first { $0.id == id }?.value
        return value.map { String(decoding: $0, as: UTF8.self) }
    }

    private static func text(_ path: String) throws(SystemError) -> String {
        try TextFile.read(path, limitBytes: Credentials.bytesLimit)
    }
}
