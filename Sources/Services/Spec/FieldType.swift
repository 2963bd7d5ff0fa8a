internal import JSON

/// The values that a field of a spec can have: their JSON, its schema, and the limits.
struct FieldType<Value: Sendable>: Sendable {
    /// What a JSON value is.
    enum Reading: Sendable {
        case value(Value)
        /// The reason completes the sentence "FIELD …"; `path` is the part of the field that it is about: ".memory".
        case problem(String, path: String = "")
    }

    /// The members of the JSON Schema of a value, without null.
    let schema: JSONObject
    /// Whether null is a value. For every other field null is the same as an absent field.
    var takesNull = false
    let read: @Sendable (JSONValue) -> Reading
    let write: @Sendable (Value) -> JSONValue
}

extension FieldType<String> {
    /// A text for which `problem` is nil. Texts are compared byte by byte and are never normalized.
    static func text(_ schema: JSONValue, _ problem: @escaping @Sendable (String) -> String?) -> FieldType {
        FieldType(
            schema: .init(type: "string", schema),
            read: { value in
                guard case .string(let text) = value else { return .problem(Self.mismatch(value, "a string")) }
                return problem(text).map { .problem($0) } ?? .value(text)
            },
            write: { .string($0) }
        )
    }

    /// One line of at most `bytesLimit` bytes that people read: without control characters and noncharacters, which
    /// systemd refuses in a unit file.
    static func line(bytesLimit: Int) -> FieldType {
        text(
            ["maxLength": .number(JSONNumber(bytesLimit)), "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"]
        ) { text in
            guard text.utf8.count <= bytesLimit else { return "must be at most \(bytesLimit) bytes long" }
            let isLine = text.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value) }
            guard isLine, !LaunchCredential.hasNoncharacter(text) else {
                return "must be one line without control characters"
            }
            return nil
        }
    }
}

extension FieldType<Int> {
    static func integer(_ range: ClosedRange<Int>) -> FieldType {
        FieldType(
            schema: .init(
                type: "integer",
                [
                    "minimum": .number(JSONNumber(range.lowerBound)),
                    "maximum": .number(JSONNumber(range.upperBound)),
                ]
            ),
            read: { value in
                guard case .number(let number) = value else { return .problem(Self.mismatch(value, "an integer")) }
                guard let integer = number.integer else { return .problem("must be an integer") }
                guard range.contains(integer) else {
                    return .problem("must be from \(range.lowerBound) to \(range.upperBound)")
                }
                return .value(integer)
            },
            write: { .number(JSONNumber($0)) }
        )
    }
}

extension FieldType<Bool> {
    static let flag = FieldType(
        schema: .init(type: "boolean", [:]),
        read: { value in
            guard case .bool(let flag) = value else { return .problem(mismatch(value, "a boolean")) }
            return .value(flag)
        },
        write: { .bool($0) }
    )
}

extension FieldType where Value: CaseIterable & RawRepresentable<String> {
    /// One of the words of an enumeration.
    static func choice() -> FieldType {
        let words = Value.allCases.map(\.rawValue)
        return FieldType(
            schema: .init(type: "string", ["enum": .array(words.map { .string($0) })]),
            read: { value in
                guard case .string(let word) = value else { return .problem(Self.mismatch(value, "a string")) }
                guard let choice = Value(rawValue: word) else {
                    return .problem("must be one of \(words.map { "'\($0)'" }.joined(separator: ", "))")
                }
                return .value(choice)
            },
            write: { .string($0.rawValue) }
        )
    }
}

extension FieldType {
    /// The same for a field that can be absent: nil is written as null.
    var optional: FieldType<Value?> {
        let (read, write) = (read, write)
        return FieldType<Value?>(
            schema: schema,
            takesNull: takesNull,
            read: { value in
                switch read(value) {
                case .value(let value): .value(value)
                case .problem(let reason, let path): .problem(reason, path: path)
                }
            },
            write: { $0.map(write) ?? .null }
        )
    }

    /// The same where null means nil.
    var nullable: FieldType<Value?> {
        let type = optional
        return FieldType<Value?>(
            schema: schema,
            takesNull: true,
            read: { $0 == .null ? .value(nil) : type.read($0) },
            write: type.write
        )
    }

    /// The problem of a value of another JSON type.
    static func mismatch(_ value: JSONValue, _ wanted: String) -> String { "must be \(wanted), not \(value.typeName)" }
}

extension FieldType<[String]> {
    /// A list of at most `countLimit` texts.
    static func list(of element: FieldType<String>, countLimit: Int) -> FieldType {
        FieldType(
            schema: .init(
                type: "array",
                ["maxItems": .number(JSONNumber(countLimit)), "items": .object(element.schema)]
            ),
            read: { value in
                guard case .array(let elements) = value else { return .problem(Self.mismatch(value, "an array")) }
                guard elements.count <= countLimit else {
                    return .problem("must have at most \(countLimit) entries")
                }
                var texts: [String] = []
                for (index, value) in elements.enumerated() {
                    switch element.read(value) {
                    case .value(let text): texts.append(text)
                    case .problem(let reason, _): return .problem(reason, path: "[\(index)]")
                    }
                }
                return .value(texts)
            },
            write: { .array($0.map { .string($0) }) }
        )
    }
}

extension FieldType<[String]> {
    /// The same, where a list of one text can be given as that text.
    var orOne: FieldType {
        let read = read
        var schema = JSONObject()
        for member in self.schema {
            schema.append(member.key, member.key == "type" ? ["array", "string"] : member.value)
        }
        // Each keyword applies to one type: the string's are those of an element.
        if case .object(let element)? = self.schema["items"] {
            for member in element where member.key != "type" { schema.append(member.key, member.value) }
        }
        return FieldType(
            schema: schema,
            read: { value in
                guard case .string = value else {
                    guard case .array = value else { return .problem(Self.mismatch(value, "a string or an array")) }
                    return read(value)
                }
                switch read([value]) {
                case .problem(let reason, _): return .problem(reason)
                case let list: return list
                }
            },
            write: write
        )
    }
}

extension FieldType<[String: String]> {
    /// An object of texts for which `problem` is nil; its members have no order.
    static func texts(
        _ schema: JSONValue,
        _ problem: @escaping @Sendable ([String: String]) -> String?
    ) -> FieldType {
        FieldType(
            schema: .init(type: "object", schema),
            read: { value in
                guard case .object(let object) = value else {
                    return .problem(Self.mismatch(value, "an object of strings"))
                }
                var texts: [String: String] = [:]
                for member in object {
                    guard case .string(let text) = member.value else {
                        return .problem(
                            "must map names to strings; '\(member.key)' is \(member.value.typeName)"
                        )
                    }
                    texts[member.key] = text
                }
                return problem(texts).map { .problem($0) } ?? .value(texts)
            },
            write: { JSONValue(texts: $0) }
        )
    }
}

/// The members of an object that is the value of a field, each read once.
struct MemberReader {
    private let object: JSONObject
    /// The first problem.
    private(set) var problem: (reason: String, path: String)?

    /// Nil for a value that is no object. Members other than those of `keys` are a problem.
    init?(_ value: JSONValue, _ keys: [String]) {
        guard case .object(let object) = value else { return nil }
        self.object = object
        if let unknown = object.first(where: { !keys.contains($0.key) }) {
            problem = ("is not one of \(keys.map { "'\($0)'" }.joined(separator: ", "))", ".\(unknown.key)")
        }
    }

    /// The value of a member; nil when it is absent, null or wrong.
    mutating func read<Value>(_ key: String, _ type: FieldType<Value>) -> Value? {
        guard let value = object[key], value != .null else { return nil }
        switch type.read(value) {
        case .value(let value): return value
        case .problem(let reason, let path):
            if problem == nil { problem = (reason, ".\(key)\(path)") }
            return nil
        }
    }
}

extension JSONObject {
    /// A schema of a JSON type with further members.
    init(type: String, _ members: JSONValue) {
        self.init()
        append("type", .string(type))
        guard case .object(let object) = members else { return }
        for member in object { append(member.key, member.value) }
    }
}
