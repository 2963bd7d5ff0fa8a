internal import HTTP
internal import JSON
internal import Services

/// The routes below `/services/{ref}/runs`: the runs of a service that have ended.
enum RunRoutes {
    static func list(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        let runs = try await api.ask(context.control.runs, context.reference)
        if context.wantsText {
            return Answer(response: Response(status: .ok, text: table(runs)), service: context.reference)
        }
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("data")
        writer.beginArray()
        for run in runs {
            writer.beginObject()
            write(run, into: &writer)
            writer.endObject()
        }
        writer.endArray()
        writer.member("total", integer: runs.count)
        writer.endObject()
        return Answer(response: Response(json: writer), service: context.reference)
    }

    static func get(_ api: API, _ context: Context) async throws(Failure) -> Answer {
        guard let number = number(context.parameters["n"] ?? "") else { throw Failure(.runNotFound) }
        let details = try await api.ask { () throws(ControlError) in
            try await context.control.run(number, of: context.reference)
        }
        if context.wantsText {
            return Answer(response: Response(status: .ok, text: page(details)), service: context.reference)
        }
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("data")
        write(details, into: &writer)
        writer.endObject()
        return Answer(response: Response(json: writer), service: context.reference)
    }

    /// Nil for a text that is no number of a run.
    private static func number(_ text: String) -> Int? {
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return Int(text)
    }

    /// The members of a record.
    static func write(_ run: EndedRun, into writer: inout JSONWriter) {
        writer.member("n", integer: run.number)
        writer.member("invocation_id", string: run.invocationID)
        writer.member("boot_id", string: run.bootID)
        writer.member("started_at", string: run.startedAt?.description)
        writer.member("ended_at", string: run.endedAt?.description)
        writer.member("exit_code", integer: run.ending?.exitCode)
        writer.member("signal", string: run.ending?.signalName)
        writer.member("result", string: run.result)
        writer.member("cause", string: run.cause.rawValue)
        writer.member("restarts_after", bool: run.isRestarted)
        writer.member("memory_peak", integer: run.memoryPeak)
        writer.member("cpu_ms", integer: run.cpuMilliseconds)
    }

    private static func write(_ details: RunDetails, into writer: inout JSONWriter) {
        writer.beginObject()
        write(details.run, into: &writer)
        write("log", details.log, into: &writer)
        writer.member("core_dump", string: details.coreDump)
        writer.member("port_holder", string: details.run.portHolder)
        writer.key("changes")
        if let changes = details.changes {
            writer.beginObject()
            write("fields", changes.fields, into: &writer)
            write("drop_ins", changes.dropIns, into: &writer)
            writer.member("boot", bool: changes.isOtherBoot)
            writer.member("clock_seconds", integer: changes.clockSeconds)
            write("packages", changes.packages, into: &writer)
            writer.endObject()
        } else {
            writer.null()
        }
        writer.endObject()
    }

    private static func write(_ key: String, _ texts: [String], into writer: inout JSONWriter) {
        writer.key(key)
        writer.beginArray()
        for text in texts { writer.string(text) }
        writer.endArray()
    }

    // MARK: Text

    private static func table(_ runs: [EndedRun]) -> String {
        PlainText.table(
            [["N", "STARTED", "ENDED", "CAUSE", "END", "RESTARTED", "MEMORY", "CPU"]]
                + runs.map { run in
                    [
                        String(run.number), run.startedAt?.description ?? "-", run.endedAt?.description ?? "-",
                        run.cause.rawValue, end(run) ?? "-", run.isRestarted ? "yes" : "no",
                        run.memoryPeak.map(memory) ?? "-", run.cpuMilliseconds.map { "\($0) ms" } ?? "-",
                    ]
                }
        )
    }

    private static func page(_ details: RunDetails) -> String {
        let run = details.run
        var lines: [(label: String, text: String?)] = [
            ("Run", String(run.number)),
            ("Cause", run.cause.rawValue + (run.result.map { " (\($0))" } ?? "")),
            ("End", end(run)),
            ("Started", run.startedAt?.description ?? "did not come to its command"),
            ("Ended", run.endedAt?.description ?? "not known"),
            ("Restarted", run.isRestarted ? "by systemd" : nil),
            ("Memory", run.memoryPeak.map(memory)),
            ("CPU", run.cpuMilliseconds.map { "\($0) ms" }),
            ("Port", run.portHolder.map { "held by \($0)" }),
            ("Invocation", run.invocationID),
            ("Boot", run.bootID),
        ]
        if let changes = details.changes {
            func list(_ words: [String]) -> String? { words.isEmpty ? nil : words.joined(separator: ", ") }
            let changed: [(label: String, text: String?)] = [
                ("Changed", list(changes.fields)),
                ("Drop-ins", list(changes.dropIns)),
                ("Booted", changes.isOtherBoot ? "since the run before" : nil),
                ("Clock", changes.clockSeconds.map { "set by \($0) s" }),
                ("Packages", list(changes.packages)),
            ]
            lines += changed
        }
        let width = lines.map(\.label.count).max() ?? 0
        let head = lines.map { label, text in
            guard let text else { return "" }
            return String(repeating: " ", count: width + 2 - label.count) + "\(label): \(PlainText.printable(text))\n"
        }.joined()
        let dump = details.coreDump.map { text in
            "\n"
                + text.split(separator: "\n", omittingEmptySubsequences: false).map { PlainText.printable(String($0)) }
                .joined(separator: "\n") + "\n"
        }
        let log = details.log.map { PlainText.printable($0) + "\n" }.joined()
        return head + (dump ?? "") + (log.isEmpty ? "" : "\n" + log)
    }

    private static func end(_ run: EndedRun) -> String? {
        run.ending.map { ending in ending.signalName ?? "exit code \(ending.exitCode)" }
    }

    private static func memory(_ bytes: Int) -> String { "\(bytes) bytes" }
}
