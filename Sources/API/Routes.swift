internal import HTTP
internal import Services

/// Carries a request out.
typealias Action = @Sendable (API, Context) async throws(Failure) -> Answer

/// Answers a read from memory.
typealias Read = @Sendable (API, Context) throws(Failure) -> Answer

/// The result of an action.
struct Answer: Sendable {
    var response: Response
    /// The body of the response, if it is streamed.
    var stream: BodyStream?
    /// The service that it was about, for the log.
    var service: String?
}

/// A line of the route table.
final class Route: Sendable {
    let method: Method
    let pattern: String
    /// The pattern without the prefix of the mount, for metrics.
    let label: String
    /// The least role that may use it; nil for every client, without authentication.
    let role: Role?
    /// Whether an account may use it, for its own services.
    let isForAccounts: Bool
    /// Whether the request is carried out although the disk hangs.
    let isUrgent: Bool
    /// The known query parameters.
    let parameters: [String]
    /// In place of the action for a request for JSON without query parameters: ``Context/isPlain``.
    let read: Read?
    let action: Action

    init(
        _ method: Method,
        _ pattern: String,
        label: String? = nil,
        role: Role?,
        isForAccounts: Bool = false,
        isUrgent: Bool = false,
        parameters: [String] = [],
        read: Read? = nil,
        _ action: @escaping Action
    ) {
        self.method = method
        self.pattern = pattern
        self.label = label ?? pattern
        self.role = role
        self.isForAccounts = isForAccounts
        self.isUrgent = isUrgent
        self.parameters = parameters
        self.read = read
        self.action = action
    }
}

enum Routes {
    /// The routes of the daemon.
    static let daemon: [Route] = [
        Route(.get, "/healthz", role: nil, HealthRoutes.health),
        Route(.get, "/readyz", role: nil, HealthRoutes.readiness),
        Route(.get, "/metrics", role: .metrics, MetricsRoutes.get),
        Route(.get, "/openapi.json", role: .read, isForAccounts: true, OpenAPIRoutes.get),
    ]

    /// The routes below every prefix in `mounts`.
    static let mounted: [Route] = [
        Route(.get, "", role: .read, ComputerRoutes.get),
        Route(
            .post,
            "/services",
            role: .admin,
            isForAccounts: true,
            parameters: Wait.parameters + ["start", DryRun.parameter],
            ServiceRoutes.create
        ),
        Route(
            .get,
            "/services",
            role: .read,
            isForAccounts: true,
            parameters: ["status", LabelFilter.parameter, Usage.parameter],
            read: ServiceRoutes.readAll,
            ServiceRoutes.list
        ),
        Route(
            .get,
            "/services/{ref}",
            role: .read,
            isForAccounts: true,
            parameters: [Usage.parameter],
            read: ServiceRoutes.read,
            ServiceRoutes.get
        ),
        Route(
            .put,
            "/services/{ref}",
            role: .admin,
            isForAccounts: true,
            parameters: Wait.parameters + ["restart", DryRun.parameter],
            ServiceRoutes.replace
        ),
        Route(
            .patch,
            "/services/{ref}",
            role: .admin,
            isForAccounts: true,
            parameters: Wait.parameters + ["restart", DryRun.parameter],
            ServiceRoutes.patch
        ),
        Route(.delete, "/services/{ref}", role: .admin, isForAccounts: true, isUrgent: true, ServiceRoutes.delete),
        Route(
            .post,
            "/services/{ref}/start",
            role: .admin,
            isForAccounts: true,
            parameters: Wait.parameters,
            ServiceRoutes.start
        ),
        Route(
            .post,
            "/services/{ref}/stop",
            role: .admin,
            isForAccounts: true,
            isUrgent: true,
            parameters: Wait.parameters,
            ServiceRoutes.stop
        ),
        Route(
            .post,
            "/services/{ref}/restart",
            role: .admin,
            isForAccounts: true,
            parameters: Wait.parameters,
            ServiceRoutes.restart
        ),
        Route(.post, "/services/{ref}/reload", role: .admin, isForAccounts: true, ServiceRoutes.reload),
        Route(.post, "/services/{ref}/signal", role: .admin, isForAccounts: true, ServiceRoutes.signal),
        Route(.get, "/services/{ref}/unit", role: .read, isForAccounts: true, ServiceRoutes.unit),
        Route(.get, "/services/{ref}/runs", role: .read, isForAccounts: true, RunRoutes.list),
        Route(.get, "/services/{ref}/runs/{n}", role: .read, isForAccounts: true, RunRoutes.get),
        Route(
            .get,
            "/services/{ref}/logs",
            role: .read,
            isForAccounts: true,
            parameters: LogParameters.names,
            LogRoutes.logs
        ),
        Route(.get, "/events", role: .read, isForAccounts: true, EventRoutes.events),
        Route(.get, "/audit", role: .read, parameters: AuditRoutes.parameters, AuditRoutes.get),
    ]

    /// The short form for a person on the machine, and the platform's own path.
    static let mounts = ["/v1", "/api/v1/computers/{computer}"]

    static let all =
        daemon
        + mounts.flatMap { prefix in
            mounted.map { route in
                Route(
                    route.method,
                    prefix + route.pattern,
                    label: mounts[0] + route.pattern,
                    role: route.role,
                    isForAccounts: route.isForAccounts,
                    isUrgent: route.isUrgent,
                    parameters: route.parameters,
                    read: route.read,
                    route.action
                )
            }
        }
}
