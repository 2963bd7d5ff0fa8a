internal import JSON
internal import ServiceManager

/// The result of `miosa-agent check` as text and as JSON.
extension Check {
    /// Lines for standard output.
    var lines: [String] {
        func line(_ label: String, _ text: String, _ source: String?) -> String {
            let padding = String(repeating: " ", count: max(2, 18 - label.count))
            return label + padding + text + (source.map { "  [\($0)]" } ?? "")
        }
        var lines: [String] = []
        if let unit {
            lines.append(line("unit", unit.fragmentPath.isEmpty ? "(none)" : unit.fragmentPath, unit.activeState))
            lines += unit.dropIns.map { line("drop-in", $0, nil) }
            lines += unit.environmentFiles.map { line("environment file", $0.path, nil) }
        }
        lines += settings.map { line($0.name, $0.value ?? "(none)", $0.source) }
        lines += identities.map { line("identity", "\($0.name): \($0.role)", $0.source) }
        lines += listeners.map { line("listener", "\($0.address): \($0.state)", $0.unit) }
        lines += findings.filter { $0.severity == .note }.map { "note: \($0.text)" }
        return lines
    }

    /// Lines for standard error, the worst first.
    var problems: [String] {
        [Severity.cannotRun, .fault, .warning].flatMap { severity in
            findings.filter { $0.severity == severity }.map { "\(severity.rawValue): \($0.text)" }
        }
    }

    /// All as one JSON object.
    var json: String {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("ok", bool: isGood)
        writer.key("unit")
        writeUnit(into: &writer)
        list("settings", settings, &writer) { setting, writer in
            writer.member("name", string: setting.name)
            writer.member("value", string: setting.value)
            writer.member("source", string: setting.source)
        }
        list("identities", identities, &writer) { identity, writer in
            writer.member("name", string: identity.name)
            writer.member("role", string: identity.role)
            writer.member("source", string: identity.source)
        }
        list("listeners", listeners, &writer) { listener, writer in
            writer.member("address", string: listener.address)
            writer.member("unit", string: listener.unit)
            writer.member("state", string: listener.state)
            writer.member("holder", string: listener.holder)
        }
        list("findings", findings, &writer) { finding, writer in
            writer.member("severity", string: finding.severity.rawValue)
            writer.member("text", string: finding.text)
        }
        writer.endObject()
        return String(decoding: writer.finish(), as: UTF8.self)
    }

    private func writeUnit(into writer: inout JSONWriter) {
        guard let unit else {
            writer.null()
            return
        }
        writer.beginObject()
        writer.member("path", string: unit.fragmentPath)
        writer.member("load_state", string: unit.loadState)
        writer.member("active_state", string: unit.activeState)
        writer.member("main_pid", integer: unit.isRunning ? unit.mainPID : nil)
        writer.member("needs_reload", bool: unit.needsReload)
        strings("drop_ins", unit.dropIns, &writer)
        strings("environment_files", unit.environmentFiles.map(\.path), &writer)
        writer.endObject()
    }

    private func strings(_ key: String, _ values: [String], _ writer: inout JSONWriter) {
        writer.key(key)
        writer.beginArray()
        for value in values { writer.string(value) }
        writer.endArray()
    }

    private func list<Element>(
        _ key: String,
        _ elements: [Element],
        _ writer: inout JSONWriter,
        _ write: (Element, inout JSONWriter) -> Void
    ) {
        writer.key(key)
        writer.beginArray()
        for element in elements {
            writer.beginObject()
            write(element, &writer)
            writer.endObject()
        }
        writer.endArray()
    }
}
