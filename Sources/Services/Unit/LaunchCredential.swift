/// Renders the credential from which the launcher runs a service whose texts systemd cannot or shall not carry: Unicode
/// noncharacters, which systemd treats as invalid UTF-8, and every text of an account (`Account`). It refuses
/// noncharacters in unit and environment files, and a unit that contains them cannot be read over D-Bus. A credential
/// (systemd.exec(5), `LoadCredential=`) is readable only by root and the service's account.
enum LaunchCredential {
    /// The credential's name.
    static let name = "launch"

    /// Whether a spec needs the credential.
    static func isNeeded(for spec: ServiceSpec) -> Bool {
        spec.account != nil || hasNoncharacter(spec.command) || hasNoncharacter(spec.workingDirectory)
            || spec.environment.values.contains(where: hasNoncharacter)
    }

    /// Strings that each end with a NUL: the number of variables, each variable as NAME=VALUE, the directory, then the
    /// command and its arguments. `Credential` in the module Launch reads it.
    static func render(_ spec: ServiceSpec) -> String {
        let variables = spec.environment.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        let strings =
            ["\(variables.count)"] + variables + [spec.workingDirectory] + UnitFile.words(of: spec)
        return strings.map { $0 + "\0" }.joined()
    }

    /// Whether a text has noncharacters, which Unicode excludes from text interchange.
    static func hasNoncharacter(_ text: String) -> Bool {
        text.unicodeScalars.contains { scalar in
            (0xfdd0...0xfdef).contains(scalar.value) || scalar.value & 0xfffe == 0xfffe
        }
    }
}
