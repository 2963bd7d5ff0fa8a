/// Renders the unit file of a service: systemd.unit(5), systemd.service(5), systemd.exec(5).
///
/// What the user chose stands in four places, each escaped so that it can only ever be a value: `ExecStart=` (quoted,
/// specifiers and control characters escaped), `WorkingDirectory=`, `User=` and the name. Environment values are not
/// here but in a file that only root reads, because a unit's settings are readable by everybody over D-Bus.
public enum UnitFile {
    /// How long a service has between SIGTERM and SIGKILL.
    public static let stopTimeoutSeconds = 10
    /// The wait before systemd starts a service again.
    public static let restartDelaySeconds = 1
    /// So many starts within ``startLimitIntervalSeconds`` and systemd gives up.
    public static let startLimitBurst = 5
    public static let startLimitIntervalSeconds = 10
    /// The slice that holds the services and nothing else.
    public static let slice = "miosa-services.slice"
    /// The target that starts the services at boot.
    public static let bootTarget = "multi-user.target"

    /// The journal field that tells to which service, of all that had its name, a line belongs.
    public static let idField = "MIOSA_SERVICE_ID"
    /// The priority, syslog(3), of what comes through standard error, `err`; that of standard output is `info`. By them
    /// alone the two can be told apart in the journal.
    public static let standardErrorPriority = 3

    /// The program that starts the service's command: `Sources/Launch`. Its number is that of its arguments and of what
    /// it does: a launcher that differs gets another number, and those that units name are kept.
    public static let launcher = launcherPrefix + "1"
    /// What the paths of all launchers begin with.
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
        if UnitSyntax.isNormalized(spec.workingDirectory), UnitSyntax.hasMountUnit(spec.workingDirectory) {
            // systemd adds that itself to a directory that has to be there.
            lines.append("RequiresMountsFor=\(UnitSyntax.listedPath(spec.workingDirectory))")
        }
        lines += [
            "",
            "[Service]",
            "Type=exec",
            "ExecStart=\(UnitSyntax.execStart([launcher] + launcherArguments(spec)))",
        ]
        if spec.stdio == .pipe {
            // What a run that was killed has left in its pipes.
            let drain = [launcher, "--drain", UnitName.identifier(of: spec.name)]
            lines.append("ExecStopPost=\(UnitSyntax.execStart(drain))")
        }
        lines.append("User=\(spec.user)")
        if UnitSyntax.isNormalized(spec.workingDirectory) {
            // "-": the launcher finds out, as the service's account, why it cannot be entered.
            lines.append("WorkingDirectory=-\(UnitSyntax.path(spec.workingDirectory))")
        }
        if LaunchCredential.isNeeded(for: spec) {
            lines.append("LoadCredential=\(LaunchCredential.name):\(UnitSyntax.path(privateFile))")
        } else if !spec.environment.isEmpty {
            lines.append("EnvironmentFile=\(UnitSyntax.path(privateFile))")
        }
        if spec.stdio == .pipe {
            // Where the pipes are, and a descriptor of each.
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
            // By default systemd has services ignore it, which no shell does.
            "IgnoreSIGPIPE=no",
            // The launcher tells why it cannot run the command.
            "NotifyAccess=main",
            "Slice=\(slice)",
            // The others are on by default.
            "IOAccounting=yes",
            "SyslogIdentifier=\(UnitName.identifier(of: spec.name))",
            "SyslogLevelPrefix=no",
            "LogExtraFields=\(idField)=\(id)",
            // An interval of 0 does not switch journald's rate limit off; this does.
            "LogRateLimitIntervalSec=1us",
            "LogRateLimitBurst=1000000",
            "",
            "[Install]",
            "WantedBy=\(bootTarget)",
            "",
        ]
        return lines.joined(separator: "\n")
    }

    /// What the launcher is told: its arguments are described in `Sources/Launch/Launcher.swift`.
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

    /// The first line of the stream of standard error, which is not shown: a WORD JOINER, since journald drops blank
    /// lines. The launcher writes it: `Streams` in the module Launch.
    public static let streamMark = "\u{2060}"
}
