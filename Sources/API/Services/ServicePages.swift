internal import Services

/// Services as text for a person at a terminal.
enum ServicePages {
    /// The command comes last in the table and is cut.
    private static let commandCharactersLimit = 60
    /// The number of log lines on the page of a service.
    static let logLines = 10

    /// One line a service, like systemctl(1)'s list-units.
    static func table(_ services: [Service], _ removed: [RemovedService], _ context: Context) -> String {
        var rows = [["NAME", "STATUS", "PID", "SINCE", "RESTARTS", "COMMAND"]]
        for service in services {
            rows.append([
                context.name(of: service.name), context.dialect.word(for: service.status),
                service.state.mainPID.map(String.init) ?? "-", since(service)?.description ?? "-",
                String(service.record.run.restarts), command(service.record.spec),
            ])
        }
        for service in removed {
            rows.append([
                context.name(of: service.record.spec.name), context.dialect.word(for: .removed), "-",
                service.removedAt.description, String(service.record.run.restarts), command(service.record.spec),
            ])
        }
        return PlainText.table(rows)
    }

    /// A service like `systemctl status` shows a unit, without its log.
    static func page(_ service: Service, _ usage: ResourceUsage?, _ context: Context) -> String {
        let record = service.record
        let spec = record.spec
        let run = record.run
        var lines: [(label: String, text: String?)] = [
            (
                "Status",
                context.dialect.word(for: service.status) + (service.subStatus.map { " (\($0.rawValue))" } ?? "")
            ),
            ("Message", service.message),
            ("Pending", service.pending.map { "\($0.operation.rawValue) since \($0.since), \($0.reason.rawValue)" }),
            ("PID", service.state.mainPID.map(String.init)),
            ("Started", run.startedAt?.description),
            ("Ended", run.exitedAt.map { "\($0)\(ending(run).map { ", \($0)" } ?? "")" }),
            ("Restarts", String(run.restarts)),
            ("Command", PlainText.printable(spec.command)),
            ("Directory", PlainText.printable(spec.workingDirectory)),
            ("Account", spec.user),
            ("Port", spec.port.map(String.init)),
            ("Restart", spec.restart.rawValue),
        ]
        let state = service.state
        lines.append(("Unit", "\(UnitName.unit(of: spec.name)): \(state.activeState.rawValue) (\(state.subState))"))
        for path in service.dropIns { lines.append(("Drop-in", path)) }
        if let memory = usage?.memoryBytes { lines.append(("Memory", "\(memory) bytes")) }
        if let cpu = usage?.cpu { lines.append(("CPU", "\(Int(cpu / .milliseconds(1))) ms")) }
        if let tasks = usage?.tasks { lines.append(("Tasks", String(tasks))) }
        lines.append(("Id", record.id))
        let width = lines.map(\.label.count).max() ?? 0
        return "\(context.name(of: spec.name))\n"
            + lines.map { label, text in
                guard let text else { return "" }
                return String(repeating: " ", count: width + 2 - label.count) + "\(label): \(text)\n"
            }.joined()
    }

    /// The beginning of the present state: of the run while the service is up, else the end of the last run.
    private static func since(_ service: Service) -> Timestamp? {
        service.status == .running || service.status == .starting
            ? service.state.main.startedAt ?? service.record.run.startedAt : service.record.run.exitedAt
    }

    private static func ending(_ run: ServiceRun) -> String? {
        run.ending.map { ending in ending.signalName ?? "exit code \(ending.exitCode)" }
    }

    private static func command(_ spec: ServiceSpec) -> String {
        let text = PlainText.printable(spec.command)
        return text.count <= commandCharactersLimit ? text : text.prefix(commandCharactersLimit - 1) + "…"
    }
}
