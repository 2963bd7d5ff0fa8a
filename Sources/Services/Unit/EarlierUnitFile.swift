/// The unit file and the private file as version 0.1.0 of the agent wrote them. Such a unit keeps working without
/// changes, and is rewritten at its next start through the API.
public enum EarlierUnitFile {
    /// As ``UnitFile/render(_:id:privateFile:launcher:)``.
    public static func render(_ spec: ServiceSpec, id: String, privateFile: String) -> String {
        let isScripted = LaunchCredential.isNeeded(for: spec)
        let command = isScripted ? ["/bin/sh", "-c", ". \"$CREDENTIALS_DIRECTORY/launch\""] : commandLine(spec)
        var lines = [
            "# Written by miosa-agent for the service '\(spec.name)'. Changes made here are lost;",
            "# settings of your own go into a drop-in: systemctl edit \(UnitName.unit(of: spec.name))",
            "[Unit]",
            "Description=Service \(spec.name)",
            "StartLimitIntervalSec=10",
            "StartLimitBurst=5",
            "",
            "[Service]",
            "Type=exec",
            "ExecStart=\(UnitSyntax.execStart(journalStreams(spec.name) + command))",
            "User=\(spec.user)",
        ]
        if UnitSyntax.isNormalized(spec.workingDirectory) {
            lines.append("WorkingDirectory=\(UnitSyntax.path(spec.workingDirectory))")
        }
        if isScripted {
            lines.append("LoadCredential=launch:\(UnitSyntax.path(privateFile))")
        } else if !spec.environment.isEmpty {
            lines.append("EnvironmentFile=\(UnitSyntax.path(privateFile))")
        }
        lines += [
            "Restart=\(spec.restart.rawValue)",
            "RestartSec=1",
            "TimeoutStopSec=10",
            "Slice=miosa-services.slice",
            "IOAccounting=yes",
            "LogExtraFields=MIOSA_SERVICE_ID=\(id)",
            "LogRateLimitIntervalSec=1us",
            "LogRateLimitBurst=1000000",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
        return lines.joined(separator: "\n")
    }

    /// As ``PrivateFile/render(_:)``.
    public static func privateFile(_ spec: ServiceSpec) -> String? {
        guard LaunchCredential.isNeeded(for: spec) else { return PrivateFile.render(spec) }
        let exports = spec.environment.sorted { $0.key < $1.key }.map { "export \($0.key)=\(quoted($0.value))" }
        let exec = "exec " + commandLine(spec).map(quoted).joined(separator: " ")
        return (["unset CREDENTIALS_DIRECTORY"] + exports + [exec, ""]).joined(separator: "\n")
    }

    private static func commandLine(_ spec: ServiceSpec) -> [String] {
        let change =
            UnitSyntax.isNormalized(spec.workingDirectory)
            ? [] : ["/usr/bin/env", "--chdir=\(spec.workingDirectory)", "--"]
        let script = ShellCommand.isPlainProgram(spec.command) ? "exec \(spec.command)" : spec.command
        return change + ["/bin/sh", "-c", script]
    }

    private static func journalStreams(_ name: ServiceName) -> [String] {
        [
            "/usr/bin/systemd-cat", "-t", UnitName.identifier(of: name), "-p", "info", "--stderr-priority=err",
            "--level-prefix=no", "/bin/sh", "-c",
            "echo \(UnitFile.streamMark); echo \(UnitFile.streamMark) >&2; exec \"$@\"", "sh",
        ]
    }

    /// Text as one word of the shell's, in single quotes: POSIX.1-2024, Shell Command Language, 2.2.2.
    private static func quoted(_ text: String) -> String {
        var word = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if scalar == "'" { word.append(contentsOf: "'\\'".unicodeScalars) }
            word.append(scalar)
        }
        return "'\(String(word))'"
    }
}
