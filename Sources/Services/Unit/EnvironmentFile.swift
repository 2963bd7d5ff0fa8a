/// Renders the environment file of a service: systemd.exec(5), `EnvironmentFile=`.
enum EnvironmentFile {
    /// One assignment per variable, sorted by name, each value in double quotes. Inside them a backslash escapes `"`,
    /// `\`, backtick and `$`; all other characters, line feeds included, are literal.
    static func render(_ environment: [String: String]) -> String {
        environment.sorted { $0.key < $1.key }.map { name, value in
            var quoted = String.UnicodeScalarView()
            for scalar in value.unicodeScalars {
                if scalar == "\"" || scalar == "\\" || scalar == "`" || scalar == "$" { quoted.append("\\") }
                quoted.append(scalar)
            }
            return "\(name)=\"\(String(quoted))\"\n"
        }.joined()
    }
}
