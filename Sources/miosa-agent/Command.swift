/// The command line.
enum Command: Equatable {
    case serve(flags: [String: String])
    case check(flags: [String: String], isJSON: Bool)
    case reload
    case version
    case help

    /// Why the arguments are invalid.
    struct UsageError: Error, Equatable {
        let reason: String
    }

    /// Parses the arguments after the program's name. A flag's value is the next argument, or follows '='.
    init(arguments: [String]) throws(UsageError) {
        if arguments.contains("--help") || arguments.contains("-h") {
            self = .help
            return
        }
        if arguments.contains("--version") {
            self = .version
            return
        }
        var rest = arguments[...]
        let verb = rest.first.flatMap { $0.hasPrefix("-") ? nil : $0 }
        if verb != nil { rest = rest.dropFirst() }
        let isJSON = verb == "check" && rest.contains("--json")
        if isJSON { rest = rest.filter { $0 != "--json" }[...] }
        let flags = try Self.flags(rest)
        switch verb {
        case nil, "serve": self = .serve(flags: flags)
        case "check": self = .check(flags: flags, isJSON: isJSON)
        case "reload":
            guard flags.isEmpty else { throw UsageError(reason: "'reload' takes no flags") }
            self = .reload
        case .some(let other): throw UsageError(reason: "unknown command '\(other)'")
        }
    }

    private static func flags(_ arguments: ArraySlice<String>) throws(UsageError) -> [String: String] {
        var flags: [String: String] = [:]
        var rest = arguments
        while let argument = rest.popFirst() {
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(parts[0])
            guard Configuration.options.contains(where: { $0.flag == name }) else {
                throw UsageError(reason: "unknown argument '\(argument)'")
            }
            guard flags[name] == nil else { throw UsageError(reason: "\(name) is given twice") }
            if parts.count == 2 {
                flags[name] = String(parts[1])
            } else if let value = rest.popFirst() {
                flags[name] = value
            } else {
                throw UsageError(reason: "\(name) needs a value")
            }
        }
        return flags
    }

    static var usage: String {
        var lines = [
            "Usage: miosa-agent [serve] [FLAGS]",
            "       miosa-agent check [--json] [FLAGS]",
            "       miosa-agent reload",
            "",
            "Makes services of this computer real as systemd units, on request over HTTP.",
            "",
            "  serve      serve the API (default)",
            "  check      print what the unit miosa-agent.service runs with, and all that is wrong; fails then",
            "  reload     have the running agent read the tokens again: ExecReload= of its unit",
            "  --version  print the version",
            "  --help     print this",
            "",
            "Settings; a flag overrides its variable, a credential of systemd comes before both:",
        ]
        for option in Configuration.options {
            let flag = option.flag.map { "\($0) \(option.placeholder), " } ?? ""
            lines.append("  \(flag)\(option.variable)=\(option.placeholder)")
            let fallback = option.fallback.map { $0.isEmpty ? "" : " (default \($0))" } ?? ""
            lines.append("      \(option.help)\(fallback)")
        }
        return lines.joined(separator: "\n")
    }
}
