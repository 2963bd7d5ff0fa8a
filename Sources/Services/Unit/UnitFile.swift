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
    /// The priorities of the two streams in the journal: by them alone they can be told apart there.
    public static let standardOutputPriority = JournalPriority.info
    public static let standardErrorPriority = JournalPriority.error

    /// The unit file as text. `id` is the service's; `privateFile` is the path of its ``PrivateFile``, which is read
    /// only where the service has one.
    public static func render(_ spec: ServiceSpec, id: String, privateFile: String) -> String {
        let isScripted = LaunchScript.isNeeded(for: spec)
        let command = isScripted ? ["/bin/sh", "-c", LaunchScript.command] : commandLine(spec)
        var lines = [
            "# Written by miosa-agent for the service '\(spec.name)'. Changes made here are lost;",
            "# settings of your own go into a drop-in: systemctl edit \(UnitName.unit(of: spec.name))",
            "[Unit]",
            "Description=Service \(spec.name)",
            "StartLimitIntervalSec=\(startLimitIntervalSeconds)",
            "StartLimitBurst=\(startLimitBurst)",
            "",
            "[Service]",
            "Type=exec",
            "ExecStart=\(UnitSyntax.execStart(journalStreams(spec.name) + command))",
            "User=\(spec.user)",
        ]
        if isDirectorySystemds(spec) {
            lines.append("WorkingDirectory=\(UnitSyntax.path(spec.workingDirectory))")
        }
        if isScripted {
            lines.append("LoadCredential=\(LaunchScript.credential):\(UnitSyntax.path(privateFile))")
        } else if !spec.environment.isEmpty {
            lines.append("EnvironmentFile=\(UnitSyntax.path(privateFile))")
        }
        lines += [
            "Restart=\(spec.restart.rawValue)",
            "RestartSec=\(restartDelaySeconds)",
            "TimeoutStopSec=\(stopTimeoutSeconds)",
            "Slice=\(slice)",
            // The others are on by default.
            "IOAccounting=yes",
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

    /// The words that run the command in its directory, where systemd does not change into that itself: env(1) does,
    /// and then becomes the command.
    static func commandLine(_ spec: ServiceSpec) -> [String] {
        let change = isDirectorySystemds(spec) ? [] : ["/usr/bin/env", "--chdir=\(spec.workingDirectory)", "--"]
        return change + ["/bin/sh", "-c", ShellCommand.script(for: spec.command)]
    }

    /// The words in front of the command that connect it to the journal with a stream each for its output and its
    /// errors: systemd-cat(1), which then becomes the command. systemd itself gives both the same one.
    ///
    /// journald learns the unit of a stream's lines from the process that wrote them, and of one that has died by then
    /// not at all. So the main process, whose PID systemd tells, makes a mark in each stream before anybody else can
    /// write: with the mark all that comes through the stream is the service's, and nothing else is.
    private static func journalStreams(_ name: ServiceName) -> [String] {
        [
            "/usr/bin/systemd-cat", "-t", UnitName.identifier(of: name), "-p", standardOutputPriority.name,
            "--stderr-priority=\(standardErrorPriority.name)", "--level-prefix=no",
            "/bin/sh", "-c", "echo \(streamMark); echo \(streamMark) >&2; exec \"$@\"", "sh",
        ]
    }

    /// The first line of each stream, which is not shown: a WORD JOINER, since journald drops blank lines.
    public static let streamMark = "\u{2060}"

    /// Whether systemd can change into the service's directory. Unlike the kernel it takes no path like "/srv/../x".
    private static func isDirectorySystemds(_ spec: ServiceSpec) -> Bool {
        UnitSyntax.isNormalized(spec.workingDirectory)
    }

    /// A level of syslog(3).
    public struct JournalPriority: Sendable {
        public let name: String
        /// As in the journal's PRIORITY= field.
        public let number: Int

        static let error = JournalPriority(name: "err", number: 3)
        static let info = JournalPriority(name: "info", number: 6)
    }
}
