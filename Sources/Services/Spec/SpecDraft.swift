public import JSON

/// The fields of a spec as they were given, some of which may be missing; ``validated(defaults:problems:)`` makes a
/// ``ServiceSpec`` of them or reports what is wrong.
public struct SpecDraft: Equatable, Sendable {
    private var values: [String: JSONValue] = [:]
    /// The uid of the account that writes the spec; nil for an administrator.
    public var account: UInt32?
    /// The key by which the client named a field, where it is an alias: problems are reported under it.
    public var aliases: [String: String] = [:]
    /// See ``ServiceSpec/unknown``.
    public var unknown = JSONObject()

    public init() {}

    /// The fields of a spec, to be changed.
    public init(_ spec: ServiceSpec) {
        for field in SpecFields.all { values[field.key] = field.value(in: spec) }
        account = spec.account
        unknown = spec.unknown
    }

    /// The value of a field as it was given; nil for a field that is absent.
    public subscript(_ key: String) -> JSONValue? {
        get { values[key] }
        set { values[key] = newValue }
    }

    /// The text of a field; nil for a field that is absent or no text.
    public func text(_ key: String) -> String? {
        if case .string(let text) = values[key] { text } else { nil }
    }

    /// The defaults of missing fields, and what the settings allow.
    public struct Defaults: Equatable, Sendable {
        public var workingDirectory = "/home/user"
        public var user: String
        /// The accounts that services may run as, `user` among them; nil for any.
        public var allowedUsers: [String]?

        public init(user: String, allowedUsers: [String]? = nil) {
            self.user = user
            self.allowedUsers = allowedUsers
        }

        /// Whether services may run as an account.
        public func allows(_ user: String) -> Bool { allowedUsers?.contains(user) ?? true }

        fileprivate func userProblem(_ user: String) -> String? {
            guard let allowedUsers, !allows(user) else { return nil }
            let list = allowedUsers.map { "'\($0)'" }.joined(separator: ", ")
            return "must be one of \(list), the accounts of MIOSA_AGENT_ALLOWED_USERS"
        }
    }

    /// Checks every field. Throws all errors together, by field. `problems` has the errors that are known already; a
    /// field in it is not reported again.
    public func validated(
        defaults: Defaults,
        problems: FieldProblems = FieldProblems()
    ) throws(FieldProblems) -> ServiceSpec {
        var problems = problems
        var spec = ServiceSpec(
            name: .missing,
            command: "",
            environment: [:],
            workingDirectory: "",
            restart: .onFailure,
            user: "",
            unknown: unknown
        )
        // A service whose name has a uid runs as that uid, also if an administrator writes the spec.
        spec.account = account ?? text("name").flatMap { ServiceName($0) }?.owner
        let context = SpecContext(defaults: defaults, isAccounts: spec.account != nil)
        for field in SpecFields.all {
            let name = aliases[field.key] ?? field.key
            field.take(values[field.key], as: name, context, into: &spec, &problems)
        }
        if let user = text("user") { problems.add("user", defaults.userProblem(user)) }
        if spec.value(SpecFields.stopMode) == .main, !ShellCommand.becomesProgram(spec.command) {
            problems.add(
                "stop_mode",
                "would signal the shell alone: with 'main' a command with shell syntax must end in 'exec PROGRAM'"
            )
        }
        if let limit = spec.restartDelayLimit, spec.restartDelay == 0 || limit < spec.restartDelay {
            problems.add(
                "restart_max_delay",
                spec.restartDelay == 0
                    ? "needs a restart_delay of at least 1" : "must be at least restart_delay, \(spec.restartDelay)"
            )
        }
        let commands = [spec.command] + spec.preStart + spec.postStop
        if commands.reduce(0, { $0 + $1.utf8.count }) > SpecLimits.commandsBytesLimit {
            let field = spec.postStop.isEmpty ? "pre_start" : "post_stop"
            problems.add(field, "makes the commands longer than \(SpecLimits.commandsBytesLimit) bytes together")
        }
        guard problems.isEmpty else { throw problems }
        return spec
    }
}
