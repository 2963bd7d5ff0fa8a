/// The systemd unit of a service: `miosa-service-NAME.service`.
public enum UnitName {
    private static let prefix = "miosa-service-"
    private static let suffix = ".service"

    /// Matches the units of all services in systemd's ListUnitsByPatterns.
    public static let pattern = prefix + "*" + suffix

    public static func unit(of service: ServiceName) -> String { prefix + service.description + suffix }

    /// The slice of a service: that of all services, or below it the one that all own services of an account share.
    public static func slice(of service: ServiceName) -> String {
        service.owner.map { "miosa-services-\($0).slice" } ?? UnitFile.slice
    }

    /// The cgroup of a service, below that of ``UnitFile/slice``.
    public static func cgroup(of service: ServiceName) -> String {
        let unit = unit(of: service)
        return service.owner == nil ? unit : slice(of: service) + "/" + unit
    }

    /// The SYSLOG_IDENTIFIER of a service's lines in the journal: the name of its unit without the type.
    public static func identifier(of service: ServiceName) -> String { prefix + service.description }

    /// The service whose unit that is; nil for any other unit.
    public static func service(ofUnit unit: String) -> ServiceName? {
        guard unit.hasPrefix(prefix), unit.hasSuffix(suffix), unit.utf8.count > prefix.utf8.count + suffix.utf8.count
        else { return nil }
        return ServiceName(String(unit.dropFirst(prefix.count).dropLast(suffix.count)))
    }
}
