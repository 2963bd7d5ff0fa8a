/// What a router found for a method and a path.
public enum RouteMatch<Handler: Sendable>: Sendable {
    /// The handler of the line that matches, and what stood in its pattern's parameters.
    case found(Handler, parameters: RouteParameters)
    /// The path exists and has other methods, which are those of the Allow field. RFC 9110 §15.5.6.
    case methodNotAllowed(allowed: [Method])
    /// No line of the table has this path.
    case notFound
}
