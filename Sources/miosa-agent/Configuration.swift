internal import API

/// The settings of the daemon: from systemd credentials, `MIOSA_AGENT_*` variables and flags.
///
/// A flag overrides a variable. For the ids a credential overrides both: a file left in the image must not override
/// what the hypervisor passes.
struct Configuration: Equatable {
    var listen: Setting
    var socket: Setting
    var unitDirectory: Setting
    var stateDirectory: Setting
    var serviceUser: Setting
    var group: Setting
    var allowedUsers: Setting
    var hosts: Setting
    var logLevel: Setting
    var computerID: Setting?
    var tenantID: Setting?
    /// The token of the identity `control-plane`, from the credential.
    var token: Setting?

    /// A value and its source.
    struct Setting: Equatable {
        var value: String
        var source: String
    }

    /// What is wrong, by setting.
    struct Problems: Error, Equatable {
        var all: [String]
    }

    /// A setting that a variable and perhaps a flag can give.
    struct Option {
        let flag: String?
        let variable: String
        let placeholder: String
        let fallback: String?
        let help: String
    }

    static let listenOption = Option(
        flag: "--listen",
        variable: "MIOSA_AGENT_LISTEN",
        placeholder: "ADDRESSES",
        fallback: "",
        help: "TCP addresses besides those of the socket units, separated by spaces"
    )
    static let socketOption = Option(
        flag: "--socket",
        variable: "MIOSA_AGENT_SOCKET",
        placeholder: "PATH",
        fallback: "/run/miosa-agent/api.sock",
        help: "Unix socket, unless systemd passes one"
    )
    static let unitDirectoryOption = Option(
        flag: "--unit-directory",
        variable: "MIOSA_AGENT_UNIT_DIRECTORY",
        placeholder: "PATH",
        fallback: "/etc/systemd/system",
        help: "where the unit files of services are written"
    )
    static let stateDirectoryOption = Option(
        flag: "--state-directory",
        variable: "MIOSA_AGENT_STATE_DIRECTORY",
        placeholder: "PATH",
        fallback: "/var/lib/miosa-agent",
        help: "where records and environment files are kept; default $STATE_DIRECTORY"
    )
    static let serviceUserOption = Option(
        flag: "--service-user",
        variable: "MIOSA_AGENT_SERVICE_USER",
        placeholder: "ACCOUNT",
        fallback: "user",
        help: "account that services run as unless their spec names one"
    )
    static let groupOption = Option(
        flag: "--group",
        variable: "MIOSA_AGENT_GROUP",
        placeholder: "GROUP",
        fallback: "miosa-agent",
        help: "whose members, besides root, may use the Unix socket; SocketGroup= of the socket unit has to allow it"
    )
    static let allowedUsersOption = Option(
        flag: "--allowed-users",
        variable: "MIOSA_AGENT_ALLOWED_USERS",
        placeholder: "ACCOUNTS",
        fallback: "",
        help: "the accounts that services may run as, separated by spaces; empty for any"
    )
    static let hostsOption = Option(
        flag: "--hosts",
        variable: "MIOSA_AGENT_HOSTS",
        placeholder: "NAMES",
        fallback: "",
        help: "further names in the Host field of requests, separated by spaces"
    )
    static let logLevelOption = Option(
        flag: "--log-level",
        variable: "MIOSA_AGENT_LOG_LEVEL",
        placeholder: "LEVEL",
        fallback: "info",
        help: "error, warning, notice, info, or debug, which adds every read request"
    )
    static let computerIDOption = Option(
        flag: nil,
        variable: "MIOSA_AGENT_COMPUTER_ID",
        placeholder: "ID",
        fallback: nil,
        help: "id of this computer; credential 'computer-id'; default made from the machine id"
    )
    static let tenantIDOption = Option(
        flag: nil,
        variable: "MIOSA_AGENT_TENANT_ID",
        placeholder: "ID",
        fallback: nil,
        help: "id of the tenant; credential 'tenant-id'"
    )
    static let options = [
        listenOption, socketOption, unitDirectoryOption, stateDirectoryOption, serviceUserOption, groupOption,
        allowedUsersOption, hostsOption, logLevelOption,
        computerIDOption, tenantIDOption,
    ]

    /// The variable that held the token in version 0.1.0.
    static let formerTokenVariable = "MIOSA_AGENT_TOKEN"

    /// Variables with the prefix `MIOSA_AGENT_` that are no settings, sorted.
    static func unknownVariables(_ environment: [String: String]) -> [String] {
        let known = options.map(\.variable) + ["MIOSA_AGENT_BOOT_ID"]
        return environment.keys.filter { $0.hasPrefix("MIOSA_AGENT_") && !known.contains($0) }.sorted()
    }

    /// What is said of a variable that is no setting: the setting that it may be meant for, or all of them.
    static func remark(onUnknown variable: String) -> String {
        if variable == formerTokenVariable {
            return "is ignored: put the token into the file \(TokenFiles.directory)/\(Identity.controlPlane).admin"
        }
        let names = options.map(\.variable)
        let nearest = names.map { ($0, distance(variable, $0)) }.min { $0.1 < $1.1 }
        let meant = nearest.flatMap { $0.1 <= misspelling ? "is it \($0.0)?" : nil }
        return "is no setting of this version, and is ignored: "
            + (meant ?? "there are \(names.joined(separator: ", "))")
    }

    /// The most letters in which a misspelt name differs from the one that was meant.
    private static let misspelling = 3

    /// The Levenshtein distance of two names.
    private static func distance(_ left: String, _ right: String) -> Int {
        let right = Array(right.utf8)
        var row = Array(0...right.count)
        for (index, byte) in left.utf8.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for column in right.indices {
                let above = row[column + 1]
                let replaced = diagonal + (byte == right[column] ? 0 : 1)
                row[column + 1] = min(above + 1, row[column] + 1, replaced)
                diagonal = above
            }
        }
        return row[right.count]
    }

    /// - Parameters:
    ///   - flags: The values given as flags, by flag.
    ///   - environment: The process's environment.
    ///   - credential: The text of a credential; nil when it was not passed.
    init(flags: [String: String], environment: [String: String], credential: (String) -> String?) {
        func setting(_ option: Option) -> Setting? {
            if let flag = option.flag, let value = flags[flag] { return Setting(value: value, source: flag) }
            if let value = environment[option.variable] { return Setting(value: value, source: option.variable) }
            return option.fallback.map { Setting(value: $0, source: "default") }
        }
        func identity(_ option: Option, _ name: String) -> Setting? {
            if let value = credential(name), !value.isEmpty { return Setting(value: value, source: "credential") }
            // An empty variable means "not set" in an EnvironmentFile.
            return setting(option).flatMap { $0.value.isEmpty ? nil : $0 }
        }
        listen = setting(Self.listenOption)!
        socket = setting(Self.socketOption)!
        unitDirectory = setting(Self.unitDirectoryOption)!
        stateDirectory = setting(Self.stateDirectoryOption)!
        // systemd.exec(5), StateDirectory=: the directory that systemd made for this service.
        if stateDirectory.source == "default", let directory = environment["STATE_DIRECTORY"] {
            stateDirectory = Setting(value: directory, source: "STATE_DIRECTORY")
        }
        serviceUser = setting(Self.serviceUserOption)!
        group = setting(Self.groupOption)!
        allowedUsers = setting(Self.allowedUsersOption)!
        hosts = setting(Self.hostsOption)!
        logLevel = setting(Self.logLevelOption)!
        computerID = identity(Self.computerIDOption, "computer-id")
        tenantID = identity(Self.tenantIDOption, "tenant-id")
        token = credential("token").flatMap { $0.isEmpty ? nil : Setting(value: $0, source: "credential") }
    }
}
