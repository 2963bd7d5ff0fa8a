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

    /// The unit file as text. `environmentFile` is the path of the file with the service's environment; nil where it
    /// has none.
    public static func render(_ spec: ServiceSpec, environmentFile: String?) -> String {
        let script = ShellCommand.script(for: spec.command)
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
            "ExecStart=\(UnitSyntax.execStart(changeDirectory(spec) + ["/bin/sh", "-c", script]))",
            "User=\(spec.user)",
        ]
        if isDirectorySystemds(spec) {
            lines.append("WorkingDirectory=\(UnitSyntax.path(spec.workingDirectory))")
        }
        if let environmentFile { lines.append("EnvironmentFile=\(UnitSyntax.path(environmentFile))") }
        lines += [
            "Restart=\(spec.restart.rawValue)",
            "RestartSec=\(restartDelaySeconds)",
            "TimeoutStopSec=\(stopTimeoutSeconds)",
            "Slice=\(slice)",
            "",
            "[Install]",
            "WantedBy=\(bootTarget)",
            "",
        ]
        return lines.joined(separator: "\n")
    }

    /// Whether systemd can change into the service's directory. Unlike the kernel it takes no path like "/srv/../x".
    private static func isDirectorySystemds(_ spec: ServiceSpec) -> Bool {
        UnitSyntax.isNormalized(spec.workingDirectory)
    }

    /// The words in front of the command that change into a directory which systemd does not take: env(1), which then
    /// becomes the command.
    private static func changeDirectory(_ spec: ServiceSpec) -> [String] {
        isDirectorySystemds(spec) ? [] : ["/usr/bin/env", "--chdir=\(spec.workingDirectory)", "--"]
    }
}
