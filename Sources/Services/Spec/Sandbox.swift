/// What the processes of a service are kept from: systemd.exec(5), "Sandboxing".
public enum Sandbox: String, CaseIterable, Sendable {
    case none
    /// What servers do not need: kernel interfaces, devices, new privileges.
    case basic
    /// The same, and every file is read-only but those of ``SpecFields`` `writable`.
    case strict

    var lines: [String] {
        switch self {
        case .none: []
        case .basic: Self.basicLines
        case .strict: Self.basicLines.filter { !$0.hasPrefix("ProtectSystem=") } + Self.strictLines
        }
    }

    private static let basicLines = [
        "NoNewPrivileges=yes",
        "ProtectSystem=full",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectControlGroups=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "PrivateDevices=yes",
        "RestrictSUIDSGID=yes",
        "RestrictRealtime=yes",
        "LockPersonality=yes",
        "SystemCallArchitectures=native",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    ]

    private static let strictLines = [
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        "PrivateTmp=yes",
        "RestrictNamespaces=yes",
        "CapabilityBoundingSet=",
        "SystemCallFilter=@system-service",
        "SystemCallErrorNumber=EPERM",
    ]
}
