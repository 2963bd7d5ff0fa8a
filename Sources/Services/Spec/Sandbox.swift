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
        case .basic: Self.commonLines + Self.basicOnlyLines
        case .strict: Self.commonLines + Self.strictLines
        }
    }

    private static let commonLines = [
        "NoNewPrivileges=yes",
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
        "SystemCallErrorNumber=EPERM",
    ]

    /// Those of a server that begins as root: it reads and gives away files, binds a port and becomes another account.
    private static let basicOnlyLines = [
        "ProtectSystem=full",
        "CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL"
            + " CAP_NET_BIND_SERVICE CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_CHROOT",
        "SystemCallFilter=~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap",
    ]

    private static let strictLines = [
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        "PrivateTmp=yes",
        "RestrictNamespaces=yes",
        "CapabilityBoundingSet=",
        "SystemCallFilter=@system-service",
    ]
}
