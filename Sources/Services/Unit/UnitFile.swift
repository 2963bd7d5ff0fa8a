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
            ] + accountLines(spec) + fileLines(spec, privateFile) + pipeLines(spec, launcher) + fields.service + [
                // By default systemd has services ignore SIGPIPE, unlike a shell.
                "IgnoreSIGPIPE=no",
                // For the launcher's message about a command that cannot be executed.
                "NotifyAccess=main",
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

    private static func pipeLines(_ spec: ServiceSpec, _ launcher: String) -> [String] {
        guard spec.stdio == .pipe else { return [] }
        let identifier = UnitName.identifier(of: spec.name)
        return [
            // Reads what a killed run has left in its pipes.
            "ExecStopPost=\(UnitSyntax.execStart([launcher, "--drain", identifier]))",
            // The directory of the pipes, and a stored descriptor of each.
            "RuntimeDirectory=\(identifier)",
            "RuntimeDirectoryMode=0700",
            "FileDescriptorStoreMax=2",
        ]
    }

    /// The arguments of the launcher, described in `Sources/Launch/Launcher.swift`.
    private static func launcherArguments(_ spec: ServiceSpec) -> [String] {
        let identifier = UnitName.identifier(of: spec.name)
        let stdio = spec.stdio == .pipe ? ["--stdio=pipe"] : []
        let kept = changedVariables.filter { spec.environment[$0] != nil }.map { "--keep=\($0)" }
        if LaunchCredential.isNeeded(for: spec) { return stdio + kept + ["--credential", identifier] }
        return stdio + kept + [identifier, spec.workingDirectory] + words(of: spec)
    }

    /// The words of the command.
    static func words(of spec: ServiceSpec) -> [String] { ShellCommand.words(for: spec.command, in: spec.shell) }

    /// The variables that the launcher changes or removes unless the service's own environment has them.
    private static let changedVariables = [
        "JOURNAL_STREAM", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "PATH", "RUNTIME_DIRECTORY",
    ]

    /// The first line of the stream of standard error, not shown to clients: a WORD JOINER, since journald drops blank
    /// lines. The launcher writes it: `Streams` in the module Launch.
    public static let streamMark = "\u{2060}"
}
