internal import JSON

/// All fields of a spec, in the order in which they are checked and shown. A new field is one declaration here.
public enum SpecFields {
    public static let all: [any SpecFieldDeclaration] = [
        name, command, environment, workingDirectory, restart, port, user, stdio,

        SpecField(
            key: "description",
            type: FieldType.line(bytesLimit: SpecLimits.descriptionBytesLimit).optional,
            standard: .value(nil),
            restarts: false,
            account: .unitless,
            lines: { text in
                UnitLines(unit: text.flatMap { $0.isEmpty ? nil : ["Description=\(UnitSyntax.line($0))"] } ?? [])
            },
            summary: "one line of at most 256 bytes, for people"
        ),
        enabled,
        SpecField(
            key: "network",
            type: .flag,
            standard: .value(false),
            lines: { waits in UnitLines(unit: waits ? ["Wants=network-online.target"] : []) },
            summary: "true: at boot the start waits for the network (network-online.target)"
        ),
        shell,
        group,
        SpecField(
            key: "umask",
            type: FieldType.text(["pattern": "^0?[0-7]{3}$"]) { text in
                let isMask =
                    [3, 4].contains(text.utf8.count) && (text.utf8.count == 3 || text.utf8.first == UInt8(ascii: "0"))
                    && text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) }
                return isMask ? nil : "must be three octal digits, as in \"0027\""
            }.optional,
            standard: .value(nil),
            lines: { mask in UnitLines(service: mask.map { ["UMask=\($0)"] } ?? []) },
            summary: "file mode creation mask as octal text, by default `0022`"
        ),
        environmentFiles,
        preStart,
        postStop,
        stopSignal,
        stopTimeout,
        stopMode,
        reloadSignal,
        startTimeout,
        restartDelay,
        restartDelayLimit,
        restartLimit,
        limits,
        SpecField(
            key: "sandbox",
            type: .choice(),
            standard: .value(Sandbox.none),
            lines: { sandbox in UnitLines(service: sandbox.lines) },
            summary: "`none`, `basic` or `strict`: what the service's processes are kept from"
        ),
        SpecField(
            key: "writable",
            type: .list(of: .path, countLimit: SpecLimits.pathsCountLimit),
            standard: .value([]),
            account: .refused,
            lines: { paths in
                // "-": a path that does not exist is no error.
                UnitLines(service: paths.map { "ReadWritePaths=\(UnitSyntax.listedPath("-\($0)"))" })
            },
            summary: "absolute paths that a service in a `sandbox` can write to, at most 32"
        ),
        logRateLimit,
        labels,
    ]

    /// The fields that are stored only where they differ from their defaults.
    public static let options = all.filter(\.isOption)

    /// The fields that are stored properties.
    static let stored = all.filter { !$0.isOption }

    /// The field with a key or alias; nil for none.
    public static func find(_ key: String) -> (field: any SpecFieldDeclaration, alias: SpecFieldAlias?)? {
        // Keys are compared byte by byte: Swift's == treats canonically equivalent strings as equal.
        for field in all {
            if field.key.utf8.elementsEqual(key.utf8) { return (field, nil) }
            if let alias = field.aliases.first(where: { $0.key.utf8.elementsEqual(key.utf8) }) { return (field, alias) }
        }
        return nil
    }

    // MARK: The fields that a service has had since version 0.1.0

    static let name = SpecField<ServiceName>(
        key: "name",
        type: ServiceName.fieldType,
        standard: .required,
        storage: .init({ $0.name }, { $0.name = $1 }),
        summary: "`[a-z][a-z0-9-]{0,62}`, without a `-` at the end, no UUID"
    )

    static let command = SpecField<String>(
        key: "command",
        type: .commandLine,
        standard: .required,
        storage: .init({ $0.command }, { $0.command = $1 }),
        summary:
            "a command line for `/bin/sh -c`, at most 64 KiB; one without shell syntax is executed without a shell, so"
            + " that `pid` is the program's"
    )

    static let environment = SpecField<[String: String]>(
        key: "env",
        type: .texts(Variables.schema, Variables.problem),
        standard: .value([:]),
        storage: .init({ $0.environment }, { $0.environment = $1 }),
        summary: "names to values; at most 256 entries, 64 KiB each, 128 KiB in all. Only root can read the values"
    )

    static let workingDirectory = SpecField<String>(
        key: "cwd",
        aliases: [SpecFieldAlias("working_dir")],
        type: .path,
        standard: .setting(\.workingDirectory),
        storage: .init({ $0.workingDirectory }, { $0.workingDirectory = $1 }),
        summary: "absolute path, default `/home/user`"
    )

    static let restart = SpecField<RestartPolicy>(
        key: "restart",
        aliases: [
            SpecFieldAlias("restart_policy"),
            SpecFieldAlias("auto_restart", schema: JSONObject(type: "boolean", [:])) { value in
                guard case .bool(let isAutomatic) = value else {
                    return .problem("must be a boolean, not \(value.typeName)")
                }
                return .value(.string((isAutomatic ? RestartPolicy.onFailure : .no).rawValue))
            },
        ],
        type: .choice(),
        standard: .value(.onFailure),
        storage: .init({ $0.restart }, { $0.restart = $1 }),
        lines: { policy in UnitLines(service: ["Restart=\(policy.rawValue)"]) },
        summary: "`always`, `on-failure` (default) or `no`; `auto_restart`: true for `on-failure`, false for `no`"
    )

    static let port = SpecField<Int?>(
        key: "port",
        type: FieldType.integer(SpecLimits.portRange).optional,
        standard: .value(nil),
        storage: .init({ $0.port }, { $0.port = $1 }),
        restarts: false,
        summary: "the TCP port that the service listens on"
    )

    static let user = SpecField<String>(
        key: "user",
        type: .accountName,
        standard: .setting(\.user),
        storage: .init({ $0.user }, { $0.user = $1 }),
        summary: "account to run as, default `user`"
    )

    static let stdio = SpecField<StandardStreams>(
        key: "stdio",
        type: .choice(),
        standard: .value(.journal),
        summary: "`journal` (default) or `pipe`: `/dev/stdout` and `/dev/stderr` can be opened"
    )

    // MARK: Those that more than the unit file depends on

    static let enabled = SpecField<Bool>(
        key: "enabled",
        type: .flag,
        standard: .value(true),
        restarts: false,
        summary: "whether a service that is not stopped starts at boot"
    )

    static let group = SpecField<String?>(
        key: "group",
        type: FieldType.accountName.optional,
        standard: .value(nil),
        account: .refused,
        lines: { group in UnitLines(service: group.map { ["Group=\($0)"] } ?? []) },
        summary: "group to run as, by default the account's own"
    )

    static let shell = SpecField<Shell>(
        key: "shell",
        type: .choice(),
        standard: .value(.sh),
        summary: "`sh`, `bash`, or `login`, a login shell of bash, which reads the account's profile"
    )

    static let environmentFiles = SpecField<[String]>(
        key: "env_file",
        type: FieldType.list(of: .path, countLimit: SpecLimits.pathsCountLimit).orOne,
        standard: .value([]),
        summary:
            "absolute path, or up to 32, of files with variables, read at each start as the service's account; `env`"
            + " wins"
    )

    static let preStart = SpecField<[String]>(
        key: "pre_start",
        type: .list(of: .commandLine, countLimit: SpecLimits.stepsCountLimit),
        standard: .value([]),
        summary: "up to 8 commands that run one after another before each start of `command`, as the same account"
    )

    static let postStop = SpecField<[String]>(
        key: "post_stop",
        type: .list(of: .commandLine, countLimit: SpecLimits.stepsCountLimit),
        standard: .value([]),
        summary: "up to 8 commands that run after each end of `command`, as the same account"
    )

    static let stopSignal = SpecField<String>(
        key: "stop_signal",
        type: SignalName.fieldType,
        standard: .value("SIGTERM"),
        lines: { signal in UnitLines(service: signal == "SIGTERM" ? [] : ["KillSignal=\(signal)"]) },
        summary: "signal that asks the service to stop, default `SIGTERM`"
    )

    static let stopTimeout = SpecField<Int>(
        key: "stop_timeout",
        type: .integer(SpecLimits.stopTimeoutRange),
        standard: .value(10),
        account: .timeout,
        // 0 would be no time-out at all.
        lines: { seconds in UnitLines(service: ["TimeoutStopSec=\(seconds == 0 ? "1us" : String(seconds))"]) },
        summary: "seconds from the stop signal to SIGKILL"
    )

    static let stopMode = SpecField<StopMode>(
        key: "stop_mode",
        type: .choice(),
        standard: .value(.all),
        lines: { mode in UnitLines(service: mode == .main ? ["KillMode=mixed"] : []) },
        summary: "the stop signal goes to `all` processes, or to the `main` one, and SIGKILL to what is left"
    )

    static let reloadSignal = SpecField<String?>(
        key: "reload_signal",
        type: SignalName.fieldType.optional,
        standard: .value(nil),
        summary: "signal of `POST …/reload`, as `SIGHUP`; none by default"
    )

    static let startTimeout = SpecField<Int>(
        key: "start_timeout",
        type: .integer(SpecLimits.startTimeoutRange),
        standard: .value(60),
        account: .timeout,
        lines: { seconds in UnitLines(service: ["TimeoutStartSec=\(seconds)"]) },
        summary: "seconds that a start may take"
    )

    static let restartDelay = SpecField<Int>(
        key: "restart_delay",
        type: .integer(SpecLimits.restartDelayRange),
        standard: .value(1),
        lines: { seconds in UnitLines(service: ["RestartSec=\(seconds)"]) },
        summary: "seconds until a service that has ended is started again"
    )

    static let restartDelayLimit = SpecField<Int?>(
        key: "restart_max_delay",
        type: FieldType.integer(SpecLimits.restartDelayLimitRange).optional,
        standard: .value(nil),
        summary:
            "seconds up to which `restart_delay` doubles with each restart in a row; anew after a run of 60 s, or of"
            + " this maximum where that is longer"
    )

    static let restartLimit = SpecField<RestartLimit?>(
        key: "restart_limit",
        type: RestartLimit.fieldType.nullable,
        standard: .value(RestartLimit(starts: 5, seconds: 10)),
        lines: { limit in UnitLines(unit: limit?.lines ?? ["StartLimitIntervalSec=0"]) },
        summary: "the number of `starts` `within` seconds after which systemd gives up; null: never"
    )

    static let limits = SpecField<ResourceLimits?>(
        key: "limits",
        type: ResourceLimits.fieldType.optional,
        standard: .value(nil),
        // systemd applies them to a running service when it reads the unit file again.
        restarts: false,
        lines: { limits in UnitLines(service: limits?.lines ?? []) },
        summary: "`memory` (bytes, or text as `512M`), `cpus` (as `0.5`), `tasks`, `open_files`; none by default"
    )

    static let logRateLimit = SpecField<Int?>(
        key: "log_rate_limit",
        type: FieldType.integer(SpecLimits.logRateRange).optional,
        standard: .value(nil),
        account: .restricted(
            { limit in
                limit.map { $0 <= Account.logRateLimit } ?? false
                    ? nil : "must be from 1 to \(Account.logRateLimit) for an account's own service"
            },
            standard: Account.logRateLimit
        ),
        lines: { limit in
            // An interval of 0 does not disable journald's rate limit; these values do.
            UnitLines(
                service: limit.map { ["LogRateLimitIntervalSec=1s", "LogRateLimitBurst=\($0)"] }
                    ?? ["LogRateLimitIntervalSec=1us", "LogRateLimitBurst=1000000"]
            )
        },
        summary: "lines a second that the journal takes; no limit by default"
    )

    static let labels = SpecField<[String: String]>(
        key: "labels",
        type: .texts(Labels.schema, Labels.problem),
        standard: .value([:]),
        restarts: false,
        summary: "at most 32 keys of `[a-z0-9./-]{1,63}`, each with at most 256 bytes; `?label=key=value` filters"
    )
}

extension SpecField<Int>.AccountRule {
    /// The longest time-out that an account may have, in seconds.
    fileprivate static let timeout = Self.restricted { seconds in
        seconds <= Account.timeoutLimit ? nil : "must be at most \(Account.timeoutLimit) for an account's own service"
    }
}

extension FieldType<String> {
    /// The name of a Unix account or group.
    fileprivate static let accountName = text(
        [
            "minLength": 1, "maxLength": .number(JSONNumber(SpecLimits.userBytesLimit)),
            "pattern": "^[A-Za-z_][A-Za-z0-9_.-]*$",
        ]
    ) { AccountName.problem(in: $0) }

    /// A text has a character that is no white space. ECMA-262 and Unicode differ in what that is.
    private static let notBlankPattern =
        "[^\\u0009-\\u000d \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]"

    /// A command line for the service's shell.
    fileprivate static let commandLine = text(
        [
            "minLength": 1, "maxLength": .number(JSONNumber(SpecLimits.commandBytesLimit)),
            "allOf": [["pattern": .string(notBlankPattern)], ["pattern": "^[^\\u0000]*$"]],
        ]
    ) { command in
        guard !command.allSatisfy(\.isWhitespace) else { return "must not be blank" }
        guard !command.utf8.contains(0) else { return "must not contain NUL" }
        guard command.utf8.count <= SpecLimits.commandBytesLimit else {
            return "must be at most \(SpecLimits.commandBytesLimit) bytes long"
        }
        return nil
    }

    /// An absolute path.
    fileprivate static let path = text(
        ["pattern": "^/[^\\r\\n\\u0000]*$", "maxLength": .number(JSONNumber(SpecLimits.pathBytesLimit))]
    ) { path in
        guard path.utf8.first == UInt8(ascii: "/") else { return "must be an absolute path" }
        guard !path.utf8.contains(where: { [0, UInt8(ascii: "\n"), UInt8(ascii: "\r")].contains($0) }) else {
            return "must not contain NUL, CR or LF"
        }
        guard path.utf8.count <= SpecLimits.pathBytesLimit else {
            return "must be at most \(SpecLimits.pathBytesLimit) bytes long"
        }
        return nil
    }
}
