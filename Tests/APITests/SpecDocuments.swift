import Foundation
import JSON
import Services

/// What follows from the declarations of a spec's fields in openapi.json and in the README.
///
/// With the environment variable MIOSA_AGENT_WRITE_DOCUMENTS the tests write it there.
enum SpecDocuments {
    static var isToBeWritten: Bool { ProcessInfo.processInfo.environment["MIOSA_AGENT_WRITE_DOCUMENTS"] != nil }

    /// The schema of a field in "components/schemas": "StopTimeout" for "stop_timeout".
    static func schemaName(of field: any SpecFieldDeclaration) -> String {
        field.key.split(separator: "_").map(\.capitalized).joined()
    }

    private static func alias(_ alias: SpecFieldAlias) -> String {
        alias.key.split(separator: "_").map(\.capitalized).joined()
    }

    private static func reference(_ name: String) -> JSONValue { ["$ref": .string("#/components/schemas/\(name)")] }

    /// The description with what follows from the declarations.
    static func describing(_ root: JSONObject) -> JSONObject {
        root.changing("components") { $0.changing("schemas", schemas) }
    }

    private static func schemas(_ former: JSONObject) -> JSONObject {
        var schemas = former
        for field in SpecFields.all where field.key != "name" {
            schemas = schemas.setting(schemaName(of: field), .object(field.schema))
            for other in field.aliases where other.schema != nil {
                schemas = schemas.setting(alias(other), .object(other.schema(summary: field.summary)))
            }
        }
        for (body, name) in [
            ("CreateService", "UnusedName"), ("PutService", "NameAgain"), ("PatchService", "NameAgain"),
        ] {
            schemas = schemas.changing(body) { $0.setting("properties", .object(properties(name: name))) }
        }
        let pattern = schemas["StopSignal"]?.object?["pattern"] ?? .null
        schemas = schemas.changing("SignalRequest") { request in
            request.changing("properties") { $0.changing("signal") { $0.setting("pattern", pattern) } }
        }
        return schemas.changing("ServiceFields") { fields in
            let options = SpecFields.options.map(\.key)
            let properties = fields["properties"]?.object ?? JSONObject()
            let keys = properties.map(\.key).filter { !options.contains($0) } + options
            var all = JSONObject()
            for key in keys {
                let option = SpecFields.options.first { $0.key == key }
                let handwritten = properties[key]
                if let value = option.map({ reference(schemaName(of: $0)) }) ?? handwritten { all.append(key, value) }
            }
            return fields.setting("required", .array(keys.map { .string($0) })).setting("properties", .object(all))
        }
    }

    /// The members of a body: each field and its aliases.
    private static func properties(name: String) -> JSONObject {
        var properties = JSONObject()
        for field in SpecFields.all {
            let schema = field.key == "name" ? name : schemaName(of: field)
            properties.append(field.key, reference(schema))
            for other in field.aliases {
                properties.append(other.key, reference(other.schema == nil ? schema : alias(other)))
            }
        }
        return properties
    }

    /// The lines of the README's table.
    static var table: String {
        SpecFields.all.map { field in
            let keys = [field.key] + field.aliases.filter { $0.schema == nil }.map(\.key)
            var summary = field.summary
            let isTold = summary.contains("default") || field.standardValue == .null
            if !isTold, !field.isRequired {
                summary += "; default `\(String(decoding: field.standardValue.encoded(), as: UTF8.self))`"
            }
            return "| \(keys.map { "`\($0)`" }.joined(separator: ", ")) | \(summary) |\n"
        }.joined()
    }

    /// A document as it is laid out in the repository: what fits is on one line.
    static func text(_ root: JSONObject) -> String { text(.object(root), indent: 0, before: 0) + "\n" }

    private static func text(_ value: JSONValue, indent: Int, before: Int) -> String {
        let line = self.line(value)
        let margin = String(repeating: " ", count: indent)
        switch value {
        case _ where indent + before + line.count < 120: return line
        case .object(let object) where !object.isEmpty:
            let members = object.map { member in
                let key = quoted(member.key) + ": "
                return "\(margin)  \(key)\(text(member.value, indent: indent + 2, before: key.count))"
            }
            return "{\n" + members.joined(separator: ",\n") + "\n\(margin)}"
        case .array(let elements) where !elements.isEmpty:
            let lines = elements.map { "\(margin)  " + text($0, indent: indent + 2, before: 0) }
            return "[\n" + lines.joined(separator: ",\n") + "\n\(margin)]"
        default: return line
        }
    }

    private static func line(_ value: JSONValue) -> String {
        switch value {
        case .object(let object):
            "{" + object.map { "\(quoted($0.key)): \(line($0.value))" }.joined(separator: ", ") + "}"
        case .array(let elements): "[" + elements.map(line).joined(separator: ", ") + "]"
        default: String(decoding: value.encoded(), as: UTF8.self)
        }
    }

    private static func quoted(_ text: String) -> String {
        String(decoding: JSONValue.string(text).encoded(), as: UTF8.self)
    }
}

extension JSONObject {
    /// The object with another value of a member, or with one more member.
    func setting(_ key: String, _ value: JSONValue) -> JSONObject {
        var object = JSONObject()
        for member in self { object.append(member.key, member.key == key ? value : member.value) }
        if self[key] == nil { object.append(key, value) }
        return object
    }

    /// The object with a changed member, which is an object.
    func changing(_ key: String, _ change: (JSONObject) -> JSONObject) -> JSONObject {
        setting(key, .object(change(self[key]?.object ?? JSONObject())))
    }
}
