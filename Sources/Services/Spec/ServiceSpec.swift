/// What somebody wants to have running; everything in it has been validated.
public struct ServiceSpec: Equatable, Sendable {
    public let name: ServiceName
    /// A command line for `/bin/sh -c`.
    public let command: String
    public let environment: [String: String]
    /// An absolute path.
    public let workingDirectory: String
    public let restart: RestartPolicy
    /// The TCP port that the service listens on, where one was declared.
    public let port: Int?
    /// The account that the processes run as.
    public let user: String
}

/// When systemd starts the service again by itself: systemd.service(5), `Restart=`.
public enum RestartPolicy: String, CaseIterable, Sendable {
    case always
    case onFailure = "on-failure"
    case no
}
