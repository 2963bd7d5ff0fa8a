/// The spec in a request, with fields that may be missing; `validated` makes a ``ServiceSpec`` of it or reports errors.
public struct SpecDraft: Equatable, Sendable {
    public var name: String?
    public var command: String?
    public var environment: [String: String]?
    public var workingDirectory: String?
    public var restart: String?
    public var port: Int?
    public var user: String?
    /// The uid of the account that writes the spec; nil for an administrator.
    public var account: UInt32?
    public var stdio: String?

    public init() {}

    /// The defaults of missing fields, and what the settings allow.
    public struct Defaults: Equatable, Sendable {
        public var workingDirectory = "/home/user"
        public var restart = RestartPolicy.onFailure
        public var stdio = StandardStreams.journal
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
        problems.add("name", name.map(ServiceName.problem(in:)) ?? "is required")
        problems.add("command", command.map(Self.commandProblem) ?? "is required")
        problems.add("env", environment.flatMap(Self.environmentProblem))
        problems.add("cwd", workingDirectory.flatMap(Self.workingDirectoryProblem))
        if let restart, RestartPolicy(rawValue: restart) == nil {
            problems.add("restart", Self.choiceProblem(RestartPolicy.self))
        }
        if let port, !SpecLimits.portRange.contains(port) {
            problems.add(
                "port",
                "must be from \(SpecLimits.portRange.lowerBound) to \(SpecLimits.portRange.upperBound)"
            )
        }
        problems.add("user", user.flatMap { AccountName.problem(in: $0) ?? defaults.userProblem($0) })
        if let stdio, StandardStreams(rawValue: stdio) == nil {
            problems.add("stdio", Self.choiceProblem(StandardStreams.self))
        }
        guard problems.isEmpty, let name = name.flatMap(ServiceName.init), let command else { throw problems }
        return ServiceSpec(
            name: name,
            command: command,
            environment: environment ?? [:],
            workingDirectory: workingDirectory ?? defaults.workingDirectory,
            restart: restart.flatMap(RestartPolicy.init) ?? defaults.restart,
            stdio: stdio.flatMap(StandardStreams.init) ?? defaults.stdio,
            port: port,
            user: user ?? defaults.user,
            // A service whose name has a uid runs as that uid, also if an administrator writes the spec.
            account: account ?? name.owner
        )
    }

    private static func choiceProblem<Choice: CaseIterable & RawRepresentable<String>>(_: Choice.Type) -> String {
        "must be one of \(Choice.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", "))"
    }

    private static func commandProblem(_ command: String) -> String? {
        guard !command.allSatisfy(\.isWhitespace) else { return "must not be blank" }
        guard !command.utf8.contains(0) else { return "must not contain NUL" }
        guard command.utf8.count <= SpecLimits.commandBytesLimit else {
            return "must be at most \(SpecLimits.commandBytesLimit) bytes long"
        }
        return nil
    }

    private static func environmentProblem(_ environment: [String: String]) -> String? {
        guard environment.count <= SpecLimits.environmentCountLimit else {
            return "must have at most \(SpecLimits.environmentCountLimit) entries"
        }
        // Sorted by name, so that equal bodies get equal answers.
        for (name, value) in environment.sorted(by: { $0.key < $1.key }) {
            if let problem = entryProblem(name, value) { return problem }
        }
        let bytes = environment.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count }
        guard bytes <= SpecLimits.environmentBytesLimit else {
            return "must be at most \(SpecLimits.environmentBytesLimit) bytes in all"
        }
        return nil
    }

    private static func entryProblem(_ name: String, _ value: String) -> String? {
        guard name.utf8.count <= SpecLimits.environmentNameBytesLimit else {
            return "has a name of more than \(SpecLimits.environmentNameBytesLimit) bytes"
        }
        guard isVariableName(name) else {
            return "has the name '\(printable(name))', which is not of the form [A-Za-z_][A-Za-z0-9_]*"
        }
        // The message names the variable and never quotes its value, which may be a secret.
        guard !value.utf8.contains(0) else { return "has NUL in the value of '\(name)'" }
        guard value.utf8.count <= SpecLimits.environmentValueBytesLimit else {
            return "has a value of more than \(SpecLimits.environmentValueBytesLimit) bytes for '\(name)'"
        }
        return nil
    }

    private static func isVariableName(_ name: String) -> Bool {
        let bytes = name.utf8
        guard let first = bytes.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else { return false }
        return bytes.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
    }

    private static func workingDirectoryProblem(_ path: String) -> String? {
        guard path.utf8.first == UInt8(ascii: "/") else { return "must be an absolute path" }
        guard !path.utf8.contains(where: { [0, UInt8(ascii: "\n"), UInt8(ascii: "\r")].contains($0) }) else {
            return "must not contain NUL, CR or LF"
        }
        guard path.utf8.count <= SpecLimits.workingDirectoryBytesLimit else {
            return "must be at most \(SpecLimits.workingDirectoryBytesLimit) bytes long"
        }
        return nil
    }

    /// A name as it can stand in a message: short, without control characters.
    private static func printable(_ text: String) -> String {
        String(text.prefix(40).map { $0.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f } ? $0 : "?" })
    }
}
