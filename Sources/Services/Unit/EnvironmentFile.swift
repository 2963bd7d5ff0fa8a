/// Renders the file that carries a service's environment: systemd.exec(5), `EnvironmentFile=`.
enum EnvironmentFile {
    /// One assignment a variable, by name, each value in double quotes. Inside them a backslash makes `"`, `\`, a
    /// backtick and `$` stand for themselves; everything else, line feeds included, is taken as it is.
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
