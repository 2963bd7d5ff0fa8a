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
    /// Who may use it.
    enum Access: Sendable {
        /// Every client, without authentication.
        case anyone
        /// Authenticated clients: by the file mode of the Unix socket, by the token on TCP.
        case caller
    }

    let method: Method
    let pattern: String
    /// The pattern without the prefix of the mount, for metrics.
    let label: String
    let access: Access
    /// The known query parameters.
    let parameters: [String]
    /// In place of the action for a request for JSON without query parameters: ``Context/isPlain``.
    let read: Read?
    let action: Action

    init(
        _ method: Method,
        _ pattern: String,
        label: String? = nil,
        access: Access = .caller,
        parameters: [String] = [],
        read: Read? = nil,
        _ action: @escaping Action
    ) {
        self.method = method
        self.pattern = pattern
        self.label = label ?? pattern
        self.access = access
        self.parameters = parameters
        self.read = read
        self.action = action
    }
}

enum Routes {
    /// The routes of the daemon.
    static let daemon: [Route] = [
        Route(.get, "/healthz", access: .anyone, HealthRoutes.health),
        Route(.get, "/readyz", access: .anyone, HealthRoutes.readiness),
        Route(.get, "/metrics", MetricsRoutes.get),
        Route(.get, "/openapi.json", OpenAPIRoutes.get),
    ]

    /// The routes below every prefix in `mounts`.
    static let mounted: [Route] = [
        Route(.get, "", ComputerRoutes.get),
        Route(.post, "/services", parameters: Wait.parameters, ServiceRoutes.create),
        Route(
            .get,
            "/services",
            parameters: ["status", Usage.parameter],
            read: ServiceRoutes.readAll,
            ServiceRoutes.list
        ),
        Route(
            .get,
            "/services/{ref}",
            parameters: [Usage.parameter],
            read: ServiceRoutes.read,
            ServiceRoutes.get
        ),
        Route(.put, "/services/{ref}", parameters: Wait.parameters, ServiceRoutes.replace),
        Route(.delete, "/services/{ref}", ServiceRoutes.delete),
        Route(.post, "/services/{ref}/start", parameters: Wait.parameters, ServiceRoutes.start),
        Route(.post, "/services/{ref}/stop", parameters: Wait.parameters, ServiceRoutes.stop),
        Route(.post, "/services/{ref}/restart", parameters: Wait.parameters, ServiceRoutes.restart),
        Route(.get, "/services/{ref}/unit", ServiceRoutes.unit),
        Route(.get, "/services/{ref}/logs", parameters: LogParameters.names, LogRoutes.logs),
        Route(.get, "/events", EventRoutes.events),
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
                    access: route.access,
                    parameters: route.parameters,
                    read: route.read,
                    route.action
                )
            }
        }
}
