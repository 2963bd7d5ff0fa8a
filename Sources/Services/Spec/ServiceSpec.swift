/// The desired state of a service, validated.
public struct ServiceSpec: Equatable, Sendable {
    public internal(set) var name: ServiceName
    /// A command line for `/bin/sh -c`.
    public internal(set) var command: String
    public internal(set) var environment: [String: String]
    /// An absolute path.
    public internal(set) var workingDirectory: String
    public let restart: RestartPolicy
    /// What standard output and standard error are connected to.
    public let stdio: StandardStreams
    /// The TCP port that the service listens on, where one was declared.
    public let port: Int?
    /// The account that the processes run as.
    public let user: String
    /// The uid of the account that wrote the spec, which is that of ``user``; nil for a spec of an administrator.
    public let account: UInt32?

    /// Compared byte by byte: Swift's == treats canonically equivalent strings as equal, and programs do not.
    public static func == (left: ServiceSpec, right: ServiceSpec) -> Bool {
        left.name == right.name && left.restart == right.restart && left.port == right.port
            && left.user == right.user && left.account == right.account && left.stdio == right.stdio
            && left.command.utf8.elementsEqual(right.command.utf8)
            && left.workingDirectory.utf8.elementsEqual(right.workingDirectory.utf8)
            && left.environment.count == right.environment.count
            && left.environment.allSatisfy { name, value in
                right.environment[name].map { $0.utf8.elementsEqual(value.utf8) } ?? false
            }
    }
}

extension ServiceSpec {
    /// What stands for the value of an environment variable where it is hidden.
    public static let hiddenValue = "(hidden)"

    /// The same without the environment, whose values may be secrets.
    public func withoutEnvironment() -> ServiceSpec {
        var spec = self
        spec.environment = [:]
        return spec
    }

    /// The same under another name.
    public func named(_ name: ServiceName) -> ServiceSpec {
        var spec = self
        spec.name = name
        return spec
    }

    /// The same with shorter texts, to be shown and not to be run.
    func showing(command: String, workingDirectory: String) -> ServiceSpec {
        var spec = self
        spec.command = command
        spec.workingDirectory = workingDirectory
        return spec
    }
}

/// When systemd restarts the service automatically: systemd.service(5), `Restart=`.
public enum RestartPolicy: String, CaseIterable, Sendable {
    case always
    case onFailure = "on-failure"
    case no
}

/// What standard output and standard error are connected to.
public enum StandardStreams: String, CaseIterable, Sendable {
    /// Stream sockets of journald.
    case journal
    /// Pipes, which can be opened as /dev/stdout and /dev/stderr; a relay process copies their content to the journal.
    case pipe
}
