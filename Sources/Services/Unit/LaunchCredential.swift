/// Renders the credential from which the launcher runs a service whose texts systemd cannot or shall not carry: Unicode
/// noncharacters, which systemd treats as invalid UTF-8, every text of an account (`Account`), and the environment of a
/// service with `env_file`. systemd refuses noncharacters in unit and environment files, and a unit that contains them
/// cannot be read over D-Bus. A credential
/// (systemd.exec(5), `LoadCredential=`) is readable only by root and the service's account.
enum LaunchCredential {
    /// The credential's name.
    static let name = "launch"

    /// Whether a spec needs the credential.
    static func isNeeded(for spec: ServiceSpec) -> Bool {
        // The launcher reads the files of variables, and then sets those of the spec.
        spec.account != nil || !spec.environmentFiles.isEmpty || commands(of: spec).contains(where: hasNoncharacter)
            || hasNoncharacter(spec.workingDirectory) || spec.environment.values.contains(where: hasNoncharacter)
    }

    /// All commands of a spec: by their places in this list the launcher is told which one to execute.
    static func commands(of spec: ServiceSpec) -> [String] { [spec.command] + spec.preStart + spec.postStop }

    /// Strings that each end with a NUL: the number of variables, the path of each file of variables and each variable
    /// as NAME=VALUE, the directory, then for each command the number of its words and the words. `Credential` in the
    /// module Launch reads it.
    static func render(_ spec: ServiceSpec) -> String {
        let own = spec.environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        // Later ones win.
        let variables = spec.environmentFiles + own
        var strings = ["\(variables.count)"] + variables + [spec.workingDirectory]
        for command in commands(of: spec) {
            let words = ShellCommand.words(for: command, in: spec.shell)
            strings += ["\(words.count)"] + words
        }
        return strings.map { $0 + "\0" }.joined()
    }

    /// Whether a text has noncharacters, which Unicode excludes from text interchange.
    static func hasNoncharacter(_ text: String) -> Bool {
        text.unicodeScalars.contains { scalar in
            (0xfdd0...0xfdef).contains(scalar.value) || scalar.value & 0xfffe == 0xfffe
        }
    }
}
