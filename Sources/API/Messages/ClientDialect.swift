internal import HTTP
internal import Services

/// The status words that a client understands.
enum ClientDialect {
    case documented
    /// The published Python library: the versions looked at, from 1.2.19 to 2.19.2, raise an error on a status that is
    /// not one of pending, running, stopped and failed.
    case pythonLibrary

    init(_ fields: Fields) {
        self = fields["User-Agent"]?.hasPrefix("miosa-python/") ?? false ? .pythonLibrary : .documented
    }

    func word(for status: ServiceStatus) -> String {
        switch (self, status) {
        case (.pythonLibrary, .starting): "pending"
        default: status.rawValue
        }
    }
}
