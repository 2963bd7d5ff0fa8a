/// Renders the unit file of a service: systemd.unit(5), systemd.service(5), systemd.exec(5).
///
/// User input is escaped so that it can only be a value: `ExecStart=` (quoted, specifiers and control characters
/// escaped), paths, `User=`, the name, and what ``SpecFields`` declares. Environment values are in a separate file
/// that only root can read, because every account can read a unit's settings over D-Bus. Of a spec that an account
/// wrote (``ServiceSpec/account``) only the name, numbers and words of the agent are in the unit file: the rest is in
/// the credential, which the launcher reads as the account.
public enum UnitFile {
    /// The slice of the services. Its only other units are the slices of accounts, ``UnitName/slice(of:)``.
    public static let slice = "miosa-services.slice"
    /// The target that starts the services at boot.
    public static let bootTarget = "multi-user.target"

    /// The journal field with the id of the service: it distinguishes services that had the same name one after
    /// another.
    public static let idField = "MIOSA_SERVICE_ID"
    /// The priority (syslog(3)) of lines from standard error, `err`; that of standard output is `info`. The journal
    /// distinguishes the two streams by it alone.
    public static let standardErrorPriority = 3

    /// The launcher: the program that executes the service's command (`Sources/Launch`). Its number is the version of
    /// its arguments and behaviour: a launcher that differs gets another number, and those in use by units are kept.
    public static let launcher = launcherPrefix + "1"
    /// The common prefix of the paths of all launchers.
    public static let launcherPrefix = "/usr/lib/miosa-agent/launch-"

    /// The unit file as text. `id` is the service's; `privateFile` is the path of its ``PrivateFile``, which is read
    /// only where the service has one.
    public static func render(
        _ spec: ServiceSpec,
        id: String,
        privateFile: String,
        launcher: String = UnitFile.launcher
    ) -> String {
        var fields = UnitLines()
        for field in SpecFields.all { field.addLines(of: spec, to: &fields) }
        let lines =
            [
                "# Written by miosa-agent for the service '\(spec.name)'. Changes made here are lost;",
                "# settings of your own go into a drop-in: systemctl edit \(UnitName.unit(of: spec.name))",
                "[Unit]",
                // A description of the spec, in a later line, takes its place.
                "Description=Service \(spec.name)",
                "After=network-online.target",
            ] + fields.unit + mountLines(spec) + [
                "",
                "[Service]",
                "Type=exec",
                "ExecStart=\(UnitSyntax.execStart([launcher] + launcherArguments(spec)))",
            ] + stepLines(spec, launcher) + accountLines(spec) + fileLines(spec, privateFile)
            + directoryLines(spec) + fields.service + [
                // By default systemd has services ignore SIGPIPE, unlike a shell.
                "IgnoreSIGPIPE=no",
                // For the launcher's message about a command that cannot be executed.
                // "exec": also from the one that waits before a restart.
                "NotifyAccess=\(spec.restartDelayLimit == nil ? "main" : "exec")",
                "Slice=\(UnitName.slice(of: spec.name))",
                // The other kinds of accounting are on by default.
                "IOAccounting=yes",
                "SyslogIdentifier=\(UnitName.identifier(of: spec.name))",
                "SyslogLevelPrefix=no",
                "LogExtraFields=\(idField)=\(id)",
                "",
                "[Install]",
                "WantedBy=\(bootTarget)",
                "",
            ]
        return lines.joined(separator: "\n")
    }

    /// Whether systemd can be told the working directory.
    private static func hasDirectory(_ spec: ServiceSpec) -> Bool {
        spec.account == nil && UnitSyntax.isNormalized(spec.workingDirectory)
    }

    private static func mountLines(_ spec: ServiceSpec) -> [String] {
        // systemd adds this dependency itself only for a WorkingDirectory= without "-".
        guard hasDirectory(spec), UnitSyntax.hasMountUnit(spec.workingDirectory) else { return [] }
        return ["RequiresMountsFor=\(UnitSyntax.listedPath(spec.workingDirectory))"]
    }

    private static func accountLines(_ spec: ServiceSpec) -> [String] {
        var lines = ["User=\(spec.account.map { String($0) } ?? spec.user)"]
        if hasDirectory(spec) {
            // "-": a directory that cannot be entered is no error of systemd; the launcher, as the service's account,
            // reports why.
            lines.append("WorkingDirectory=-\(UnitSyntax.path(spec.workingDirectory))")
        }
        return lines
    }

    private static func fileLines(_ spec: ServiceSpec, _ privateFile: String) -> [String] {
        if LaunchCredential.isNeeded(for: spec) {
            return ["LoadCredential=\(LaunchCredential.name):\(UnitSyntax.path(privateFile))"]
        }
        return spec.environment.isEmpty ? [] : ["EnvironmentFile=\(UnitSyntax.path(privateFile))"]
    }

    /// The commands before a start and after an end. systemd executes none behind one that fails.
    private static func stepLines(_ spec: ServiceSpec, _ launcher: String) -> [String] {
        let identifier = UnitName.identifier(of: spec.name)
        func line(_ setting: String, _ arguments: [String]) -> String {
            "\(setting)=\(UnitSyntax.execStart([launcher] + arguments))"
        }
        var lines: [String] = []
        if let limit = spec.restartDelayLimit {
            lines.append(line("ExecStartPre", ["--delay=\(spec.restartDelay):\(limit)", identifier]))
        }
        for index in spec.preStart.indices { lines.append(line("ExecStartPre", stepArguments(spec, 1 + index))) }
        // Reads what a killed run has left in its pipes.
        if spec.stdio == .pipe { lines.append(line("ExecStopPost", ["--drain", identifier])) }
        for index in spec.postStop.indices {
            lines.append(line("ExecStopPost", stepArguments(spec, 1 + spec.preStart.count + index)))
        }
        if spec.restartDelayLimit != nil { lines.append(line("ExecStopPost", ["--ended", identifier])) }
        return lines
    }

    /// The field of a spec, with the place in it, of a command of the unit: "pre_start[0]" for `ExecStartPre` and the
    /// place among the commands of that setting. Nil for one that is not of the spec.
    public static func field(of setting: String, _ place: Int, _ spec: ServiceSpec) -> String? {
        switch setting {
        case "ExecStartPre":
            let index = place - (spec.restartDelayLimit == nil ? 0 : 1)
            return spec.preStart.indices.contains(index) ? "pre_start[\(index)]" : nil
        case "ExecStopPost":
            let index = place - (spec.stdio == .pipe ? 1 : 0)
            return spec.postStop.indices.contains(index) ? "post_stop[\(index)]" : nil
        default: return nil
        }
    }

    /// Whether the launcher copies the credential: newer versions of systemd give none to a command after the end.
    private static func keepsCredential(_ spec: ServiceSpec) -> Bool {
        !spec.postStop.isEmpty && LaunchCredential.isNeeded(for: spec)
    }

    /// The first version of systemd that gives a command before the start the credential.
    public static let versionWithEarlyCredentials = 252

    /// Throws `unsupported` for a spec whose unit a version of systemd cannot start.
    public static func requireSupport(for spec: ServiceSpec, bySystemd version: Int) throws(ControlError) {
        guard version < versionWithEarlyCredentials, LaunchCredential.isNeeded(for: spec) else { return }
        guard spec.restartDelayLimit != nil || !spec.preStart.isEmpty else { return }
        throw .unsupported(
            field: spec.preStart.isEmpty ? "restart_max_delay" : "pre_start",
            reason: "needs systemd \(versionWithEarlyCredentials) in a service with env_file, of an account, or with"
                + " Unicode noncharacters; this is systemd \(version)"
        )
    }

    /// The lines for the directory of the pipes, with a stored descriptor of each, of the count of restarts, and of the
    /// copy of the credential.
    private static func directoryLines(_ spec: ServiceSpec) -> [String] {
        guard spec.stdio == .pipe || spec.restartDelayLimit != nil || keepsCredential(spec) else { return [] }
        return ["RuntimeDirectory=\(UnitName.identifier(of: spec.name))", "RuntimeDirectoryMode=0700"]
            + (spec.restartDelayLimit == nil ? [] : ["RuntimeDirectoryPreserve=restart"])
            + (spec.stdio == .pipe ? ["FileDescriptorStoreMax=2"] : [])
    }

    /// The arguments of the launcher, described in `Sources/Launch/Launcher.swift`.
    private static func launcherArguments(_ spec: ServiceSpec) -> [String] {
        arguments(spec, spec.stdio == .pipe ? ["--stdio=pipe"] : [], 0)
    }

    /// The same for another one of ``LaunchCredential/commands(of:)``.
    private static func stepArguments(_ spec: ServiceSpec, _ number: Int) -> [String] {
        arguments(spec, ["--control"], number)
    }

    private static func arguments(_ spec: ServiceSpec, _ options: [String], _ number: Int) -> [String] {
        let identifier = UnitName.identifier(of: spec.name)
        let options = options + changedVariables.filter { spec.environment[$0] != nil }.map { "--keep=\($0)" }
        guard !LaunchCredential.isNeeded(for: spec) else {
            let isBeforeEnd = number <= spec.preStart.count
            return options + (isBeforeEnd && keepsCredential(spec) ? ["--keep-credential"] : [])
                + [number == 0 ? "--credential" : "--credential=\(number)", identifier]
        }
        let command = LaunchCredential.commands(of: spec)[number]
        return options + [identifier, spec.workingDirectory] + ShellCommand.words(for: command, in: spec.shell)
    }

    /// The variables that the launcher changes or removes unless the service's own environment has them.
    private static let changedVariables = [
        "JOURNAL_STREAM", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "PATH", "RUNTIME_DIRECTORY",
    ]

    /// The first line of the stream of standard error, not shown to clients: a WORD JOINER, since journald drops blank
    /// lines. The launcher writes it: `Streams` in the module Launch.
    public static let streamMark = "\u{2060}"
}
