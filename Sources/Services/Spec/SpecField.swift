public import JSON

/// A field of a spec, declared once: what follows from it is the check of a request's body, the record, the object that
/// clients see, the comparison of specs, PATCH, the schema in openapi.json, the README's table and the unit's lines.
struct SpecField<Value: Sendable>: Sendable {
    /// What an absent field is.
    enum Standard: Sendable {
        /// The field must be given.
        case required
        case value(Value)
        /// A value of the agent's settings.
        case setting(@Sendable (SpecDraft.Defaults) -> Value)
    }

    /// What an account may write in a spec of its own (``Account``).
    enum AccountRule: Sendable {
        /// The same as an administrator.
        case same
        /// The same, and the unit file does not have it: the text would reach a process of root.
        case unitless
        /// Nothing, for the same reason.
        case refused
        /// A value for which the closure is nil, and `value` where the field is absent.
        case restricted(@Sendable (Value) -> String?, standard: Value? = nil)
    }

    /// A property of ``ServiceSpec``.
    struct StoredProperty: Sendable {
        let get: @Sendable (ServiceSpec) -> Value
        let set: @Sendable (inout ServiceSpec, Value) -> Void

        init(
            _ get: @escaping @Sendable (ServiceSpec) -> Value,
            _ set: @escaping @Sendable (inout ServiceSpec, Value) -> Void
        ) {
            self.get = get
            self.set = set
        }
    }

    /// The key in JSON.
    let key: String
    /// Other keys of the same field.
    var aliases: [SpecFieldAlias] = []
    let type: FieldType<Value>
    let standard: Standard
    /// The stored property; nil for a field that is stored only where it differs from its default, in
    /// ``ServiceSpec/options``.
    var storage: StoredProperty?
    /// Whether a change of the field restarts a running service.
    var restarts = true
    var account = AccountRule.same
    /// The lines of the unit file that the field alone determines.
    var lines: @Sendable (Value) -> UnitLines = { _ in UnitLines() }
    /// The field's line in the README and its description in openapi.json.
    let summary: String
}

/// Lines of a unit file, by section.
public struct UnitLines: Sendable {
    var unit: [String] = []
    var service: [String] = []
}

/// A second key of a field.
public struct SpecFieldAlias: Sendable {
    public let key: String
    /// The JSON type of its value, if it is not the field's.
    public let schema: JSONObject?
    /// The value in the field's own terms, or why it is none.
    public let translate: @Sendable (JSONValue) -> Translation

    public enum Translation {
        case value(JSONValue)
        case problem(String)
    }

    /// The schema with null and a description.
    public func schema(summary: String) -> JSONObject {
        (schema ?? JSONObject()).forRequests(isRequired: false, standard: nil, summary)
    }

    init(
        _ key: String,
        schema: JSONObject? = nil,
        translate: @escaping @Sendable (JSONValue) -> Translation = { .value($0) }
    ) {
        self.key = key
        self.schema = schema
        self.translate = translate
    }
}

/// A ``SpecField`` of any type of value.
public protocol SpecFieldDeclaration: Sendable {
    var key: String { get }
    var aliases: [SpecFieldAlias] { get }
    var restarts: Bool { get }
    var summary: String { get }
    var isRequired: Bool { get }
    /// Whether it is stored only where it differs from its default.
    var isOption: Bool { get }
    /// Whether null is a value.
    var takesNull: Bool { get }
    /// The JSON Schema of a value in a request, with null and the default.
    var schema: JSONObject { get }
    /// Why an account may not write a value; nil when it may.
    func accountProblem(of value: JSONValue) -> String?
    /// Whether a record has the field: one that has a stored property, or differs from its default.
    func isRecorded(of spec: ServiceSpec) -> Bool
    /// Whether a JSON value is one of the field's.
    func isValue(_ value: JSONValue) -> Bool
    /// Reads a value into a spec, or its default for nil, or notes the problem under `name`, the key of the client.
    func take(
        _ given: JSONValue?,
        as name: String,
        _ context: SpecContext,
        into spec: inout ServiceSpec,
        _ problems: inout FieldProblems
    )
    /// The value that is stored for what a client gives; the same JSON where there is none.
    func canonical(_ given: JSONValue) -> JSONValue
    /// The constant default; null for none.
    var standardValue: JSONValue { get }
    /// The value in a spec; null for nil.
    func value(in spec: ServiceSpec) -> JSONValue
    func isEqual(_ left: ServiceSpec, _ right: ServiceSpec) -> Bool
    /// The lines of the unit file, of which an account's own are only those of numbers and words of the agent.
    func addLines(of spec: ServiceSpec, to lines: inout UnitLines)
}

/// What the checks of a spec know besides its fields.
public struct SpecContext: Sendable {
    let defaults: SpecDraft.Defaults
    /// Whether an account writes the spec.
    let isAccounts: Bool
}

extension SpecField: SpecFieldDeclaration {
    var isRequired: Bool { if case .required = standard { true } else { false } }

    var isOption: Bool { storage == nil }

    var takesNull: Bool { type.takesNull }

    /// The default of a field that needs no settings; nil for any other.
    private var constant: Value? { if case .value(let value) = standard { value } else { nil } }

    var schema: JSONObject {
        type.schema.forRequests(isRequired: isRequired, standard: constant.map(type.write), summary)
    }

    func take(
        _ given: JSONValue?,
        as name: String,
        _ context: SpecContext,
        into spec: inout ServiceSpec,
        _ problems: inout FieldProblems
    ) {
        guard let given, given != .null || type.takesNull else {
            return takeStandard(as: name, context, into: &spec, &problems)
        }
        switch type.read(given) {
        case .problem(let reason, let path): problems.add(name + path, reason)
        case .value(let value):
            if context.isAccounts, let reason = account.problem(of: value) { problems.add(name, reason) }
            set(value, in: &spec)
        }
    }

    private func takeStandard(
        as name: String,
        _ context: SpecContext,
        into spec: inout ServiceSpec,
        _ problems: inout FieldProblems
    ) {
        if context.isAccounts, case .restricted(_, let standard?) = account { return set(standard, in: &spec) }
        switch standard {
        case .required: problems.add(name, "is required")
        case .value(let value): set(value, in: &spec)
        case .setting(let value): set(value(context.defaults), in: &spec)
        }
    }

    func accountProblem(of value: JSONValue) -> String? {
        guard value != .null, case .value(let value) = type.read(value) else { return nil }
        return account.problem(of: value)
    }

    func isRecorded(of spec: ServiceSpec) -> Bool { storage != nil || spec.options[key] != nil }

    func isValue(_ value: JSONValue) -> Bool {
        if case .value = type.read(value) { return true }
        return value == .null
    }

    func canonical(_ given: JSONValue) -> JSONValue {
        guard case .value(let value) = type.read(given) else { return given }
        return type.write(value)
    }

    private func set(_ value: Value, in spec: inout ServiceSpec) {
        if let storage {
            storage.set(&spec, value)
        } else {
            let written = type.write(value)
            spec.options[key] = written == constant.map(type.write) ? nil : written
        }
    }

    var standardValue: JSONValue { constant.map(type.write) ?? .null }

    func value(in spec: ServiceSpec) -> JSONValue {
        if let storage { return type.write(storage.get(spec)) }
        return spec.options[key] ?? standardValue
    }

    /// The value in a spec. Precondition for a field that is no stored property: it has a constant default.
    func typedValue(in spec: ServiceSpec) -> Value {
        if let storage { return storage.get(spec) }
        if let option = spec.options[key], case .value(let value) = type.read(option) { return value }
        guard let constant else { preconditionFailure("the option '\(key)' has no constant default") }
        return constant
    }

    func isEqual(_ left: ServiceSpec, _ right: ServiceSpec) -> Bool { value(in: left) == value(in: right) }

    func addLines(of spec: ServiceSpec, to lines: inout UnitLines) {
        if spec.account != nil, account.isKeptFromUnit { return }
        let more = self.lines(typedValue(in: spec))
        lines.unit += more.unit
        lines.service += more.service
    }
}

extension SpecField.AccountRule {
    fileprivate var isKeptFromUnit: Bool {
        switch self {
        case .unitless, .refused: true
        case .same, .restricted: false
        }
    }

    fileprivate func problem(of value: Value) -> String? {
        switch self {
        case .same, .unitless: nil
        case .refused: "can be set only by an administrator"
        case .restricted(let problem, _): problem(value)
        }
    }
}

extension JSONObject {
    /// A schema as it holds for a request: a client can send null for every field that it need not send.
    fileprivate func forRequests(isRequired: Bool, standard: JSONValue?, _ summary: String) -> JSONObject {
        var schema = JSONObject()
        for member in self {
            switch (member.key, member.value) {
            case ("type", .string(let name)) where !isRequired: schema.append("type", [.string(name), "null"])
            case ("type", .array(let names)) where !isRequired: schema.append("type", .array(names + ["null"]))
            case ("enum", .array(let words)) where !isRequired: schema.append("enum", .array(words + [.null]))
            default: schema.append(member.key, member.value)
            }
        }
        if let standard, standard != .null { schema.append("default", standard) }
        schema.append("description", .string(summary))
        return schema
    }
}

/// The values of fields that differ from their defaults, in the order of their keys' declaration.
public struct SpecOptions: Equatable, Sendable {
    private var values = JSONObject()

    public var isEmpty: Bool { values.isEmpty }

    /// The size of their JSON; 0 for none.
    public var byteCount: Int { isEmpty ? 0 : JSONValue.object(values).encoded().count }

    subscript(_ key: String) -> JSONValue? {
        get { values[key] }
        set {
            guard values[key] != newValue else { return }
            var changed = JSONObject()
            for field in SpecFields.options {
                let value = field.key == key ? newValue : values[field.key]
                if let value { changed.append(field.key, value) }
            }
            values = changed
        }
    }
}
