/// Renders the script that starts a service whose texts systemd cannot carry: Unicode noncharacters, which it takes for
/// broken UTF-8. It refuses them in unit and environment files, and a unit that has them all the same cannot be read
/// over D-Bus. The shell reads them from a credential, systemd.exec(5) `LoadCredential=`, which only root and the
/// service's account can see.
enum LaunchScript {
    /// The credential's name.
    static let credential = "launch"

    /// Reads the credential and does what it says. It ends in `exec`: the process stays the same.
    static let command = ". \"$CREDENTIALS_DIRECTORY/\(credential)\""

    /// Whether a spec needs the script.
    static func isNeeded(for spec: ServiceSpec) -> Bool {
        hasNoncharacter(spec.command) || hasNoncharacter(spec.workingDirectory)
            || spec.environment.values.contains(where: hasNoncharacter)
    }

    /// The script: the environment, then the command in place of the shell. The credential is no business of the
    /// service's, which has none where no script is needed.
    static func render(_ spec: ServiceSpec) -> String {
        let exports = spec.environment.sorted { $0.key < $1.key }.map { "export \($0.key)=\(quoted($0.value))" }
        let exec = "exec " + UnitFile.commandLine(spec).map(quoted).joined(separator: " ")
        return (["unset CREDENTIALS_DIRECTORY"] + exports + [exec, ""]).joined(separator: "\n")
    }

    /// Whether there are code points that Unicode keeps out of all text that is exchanged.
    static func hasNoncharacter(_ text: String) -> Bool {
        text.unicodeScalars.contains { scalar in
            (0xfdd0...0xfdef).contains(scalar.value) || scalar.value & 0xfffe == 0xfffe
        }
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
