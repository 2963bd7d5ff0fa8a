public import JSON

/// The desired state of a service, validated. ``SpecFields`` declares what its fields are.
public struct ServiceSpec: Equatable, Sendable {
    public internal(set) var name: ServiceName
    /// A command line for the ``shell``.
    public internal(set) var command: String
    public internal(set) var environment: [String: String]
    /// An absolute path.
    public internal(set) var workingDirectory: String
    public internal(set) var restart: RestartPolicy
    /// The TCP port that the service listens on, where one was declared.
    public internal(set) var port: Int?
    /// The account that the processes run as.
    public internal(set) var user: String
    /// The uid of the account that wrote the spec, which is that of ``user``; nil for a spec of an administrator.
    public internal(set) var account: UInt32?
    /// The fields that differ from their defaults, of those that are no stored property.
    public internal(set) var options = SpecOptions()
    /// The members of a record's spec that this version does not know: those of a newer one. They are kept.
    public internal(set) var unknown = JSONObject()

    /// Texts are compared byte by byte: Swift's == treats canonically equivalent strings as equal.
    public static func == (left: ServiceSpec, right: ServiceSpec) -> Bool {
        left.account == right.account && left.options == right.options
            && SpecFields.stored.allSatisfy { $0.isEqual(left, right) }
    }

    /// The keys of the fields that differ from those of another spec.
    public func differences(from other: ServiceSpec) -> [any SpecFieldDeclaration] {
        SpecFields.all.filter { !$0.isEqual(self, other) }
    }
}

extension ServiceSpec {
    /// The value of a field that has no stored property.
    func value<Value>(_ field: SpecField<Value>) -> Value { field.typedValue(in: self) }

    /// Whether a service that was not stopped starts at boot.
    public var isEnabled: Bool { value(SpecFields.enabled) }

    /// The group that the processes run as; nil for the account's own.
    public var group: String? { value(SpecFields.group) }

    public var shell: Shell { value(SpecFields.shell) }

    /// What standard output and standard error are connected to.
    public var stdio: StandardStreams { value(SpecFields.stdio) }

    /// The files with variables of the environment.
    public var environmentFiles: [String] { value(SpecFields.environmentFiles) }

    /// The commands before each start.
    public var preStart: [String] { value(SpecFields.preStart) }

    /// The commands after each end.
    public var postStop: [String] { value(SpecFields.postStop) }

    /// Seconds until an automatic restart.
    public var restartDelay: Int { value(SpecFields.restartDelay) }

    /// Seconds up to which the delay of automatic restarts grows; nil if it does not grow.
    public var restartDelayLimit: Int? { value(SpecFields.restartDelayLimit) }

    /// The name of the signal that asks the service to stop.
    public var stopSignal: String { value(SpecFields.stopSignal) }

    /// Seconds from the stop signal to SIGKILL.
    public var stopTimeout: Int { value(SpecFields.stopTimeout) }

    /// The number of the signal of a reload; nil for none.
    public var reloadSignal: Int? { value(SpecFields.reloadSignal).flatMap { SignalName.number($0) } }

    /// The start limit; nil for none.
    public var restartLimit: RestartLimit? { value(SpecFields.restartLimit) }

    public var limits: ResourceLimits { value(SpecFields.limits) ?? .none }

    public var labels: [String: String] { value(SpecFields.labels) }
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

    /// The same with ``hiddenValue`` for each value of the environment.
    public func withHiddenValues() -> ServiceSpec {
        var spec = self
        spec.environment = spec.environment.mapValues { _ in Self.hiddenValue }
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
