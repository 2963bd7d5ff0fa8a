/// Renders the unit file of a service: systemd.unit(5), systemd.service(5), systemd.exec(5).
///
/// User input is in four places, each escaped so that it can only be a value: `ExecStart=` (quoted, specifiers and
/// control characters escaped), `WorkingDirectory=`, `User=` and the name. Environment values are in a separate file
/// that only root can read, because every account can read a unit's settings over D-Bus. Of a spec that an account
/// wrote (``ServiceSpec/account``) only the name and numbers are in the unit file: the rest is in the credential, which
/// the launcher reads as the account.
public enum UnitFile {
    /// The time between SIGTERM and SIGKILL (TimeoutStopSec=).
    public static let stopTimeoutSeconds = 10
    /// The delay of an automatic restart (RestartSec=).
    public static let restartDelaySeconds = 1
    /// The number of starts within ``startLimitIntervalSeconds`` after which systemd gives up (StartLimitBurst=).
    public static let startLimitBurst = 5
    public static let startLimitIntervalSeconds = 10
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
        var lines = [
            "# Written by miosa-agent for the service '\(spec.name)'. Changes made here are lost;",
            "# settings of your own go into a drop-in: systemctl edit \(UnitName.unit(of: spec.name))",
            "[Unit]",
            "Description=Service \(spec.name)",
            "StartLimitIntervalSec=\(startLimitIntervalSeconds)",
            "StartLimitBurst=\(startLimitBurst)",
        ]
        let isConfined = spec.account != nil
        if !isConfined, UnitSyntax.isNormalized(spec.workingDirectory),
            UnitSyntax.hasMountUnit(spec.workingDirectory)
        {
            // systemd adds this dependency itself only for a WorkingDirectory= without "-".
            lines.append("RequiresMountsFor=\(UnitSyntax.listedPath(spec.workingDirectory))")
        }
        lines += [
            "",
            "[Service]",
            "Type=exec",
            "ExecStart=\(UnitSyntax.execStart([launcher] + launcherArguments(spec)))",
        ]
        if spec.stdio == .pipe {
            // Reads what a killed run has left in its pipes.
            let drain = [launcher, "--drain", UnitName.identifier(of: spec.name)]
            lines.append("ExecStopPost=\(UnitSyntax.execStart(drain))")
        }
        lines.append("User=\(spec.account.map { String($0) } ?? spec.user)")
        if !isConfined, UnitSyntax.isNormalized(spec.workingDirectory) {
            // "-": a directory that cannot be entered is no error of systemd; the launcher, as the service's account,
            // reports why.
            lines.append("WorkingDirectory=-\(UnitSyntax.path(spec.workingDirectory))")
        }
        if LaunchCredential.isNeeded(for: spec) {
            lines.append("LoadCredential=\(LaunchCredential.name):\(UnitSyntax.path(privateFile))")
        } else if !spec.environment.isEmpty {
            lines.append("EnvironmentFile=\(UnitSyntax.path(privateFile))")
        }
        if spec.stdio == .pipe {
            // The directory of the pipes, and a stored descriptor of each.
            lines += [
                "RuntimeDirectory=\(UnitName.identifier(of: spec.name))",
                "RuntimeDirectoryMode=0700",
                "FileDescriptorStoreMax=2",
            ]
        }
        lines += [
            "Restart=\(spec.restart.rawValue)",
            "RestartSec=\(restartDelaySeconds)",
            "TimeoutStopSec=\(stopTimeoutSeconds)",
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
        ]
        if isConfined {
            lines += ["LogRateLimitIntervalSec=1s", "LogRateLimitBurst=\(Account.logRateLimit)"]
        } else {
            // An interval of 0 does not disable journald's rate limit; these values do.
            lines += ["LogRateLimitIntervalSec=1us", "LogRateLimitBurst=1000000"]
        }
        lines += [
            "",
            "[Install]",
            "WantedBy=\(bootTarget)",
            "",
        ]
        return lines.joined(separator: "\n")
    }

    /// The arguments of the launcher, described in `Sources/Launch/Launcher.swift`.
    private static func launcherArguments(_ spec: ServiceSpec) -> [String] {
        let identifier = UnitName.identifier(of: spec.name)
        let stdio = spec.stdio == .pipe ? ["--stdio=pipe"] : []
        let kept = changedVariables.filter { spec.environment[$0] != nil }.map { "--keep=\($0)" }
        if LaunchCredential.isNeeded(for: spec) { return stdio + kept + ["--credential", identifier] }
        return stdio + kept + [identifier, spec.workingDirectory] + ShellCommand.words(for: spec.command)
    }

    /// The variables that the launcher changes or removes unless the service's own environment has them.
    private static let changedVariables = [
        "JOURNAL_STREAM", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "PATH", "RUNTIME_DIRECTORY",
    ]

    /// The first line of the stream of standard error, not shown to clients: a WORD JOINER, since journald drops blank
    /// lines. The launcher writes it: `Streams` in the module Launch.
    public static let streamMark = "\u{2060}"
}
