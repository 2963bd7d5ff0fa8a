internal import HTTP
internal import JSON
public import Services

/// The computer as the agent sees it.
enum ComputerRoutes {
    static func get(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let services = try await api.services(context)
        let computer = await api.describeComputer()
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("data")
        writer.beginObject()
        writer.member("id", string: api.configuration.computer.computerID)
        writer.member("tenant_id", string: api.configuration.computer.tenantID)
        writer.member("hostname", string: computer.hostname)
        writer.member("boot_id", string: computer.bootID)
        writer.member("booted_at", string: computer.bootedAt?.description)
        writer.member("agent_version", string: computer.agentVersion)
        writer.member("systemd_version", string: computer.systemdVersion)
        writer.key("services")
        writer.beginObject()
        writer.member("total", integer: services.count)
        for status in ServiceStatus.allCases where status != .removed {
            let count = services.count { $0.status == status }
            writer.member(context.dialect.word(for: status), integer: count)
        }
        writer.endObject()
        writer.endObject()
        writer.endObject()
        return Answer(response: Response(json: writer))
    }
}

/// Facts about the machine and what runs on it.
public struct Computer: Sendable {
    public let hostname: String
    public let bootID: String
    public let bootedAt: Timestamp?
    public let agentVersion: String
    public let systemdVersion: String?

    public init(
        hostname: String,
        bootID: String,
        bootedAt: Timestamp?,
        agentVersion: String,
        systemdVersion: String?
    ) {
        self.hostname = hostname
        self.bootID = bootID
        self.bootedAt = bootedAt
        self.agentVersion = agentVersion
        self.systemdVersion = systemdVersion
    }
}
