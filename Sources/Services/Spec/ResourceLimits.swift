internal import JSON

/// Limits of all processes of a service together: systemd.resource-control(5), and of each: `LimitNOFILE=`.
public struct ResourceLimits: Equatable, Sendable {
    /// Bytes.
    public let memory: Int?
    /// Hundredths of a processor.
    public let cpu: Int?
    public let tasks: Int?
    public let openFiles: Int?

    var lines: [String] {
        [
            memory.map { "MemoryMax=\($0)" }, cpu.map { "CPUQuota=\($0)%" }, tasks.map { "TasksMax=\($0)" },
            openFiles.map { "LimitNOFILE=\($0)" },
        ].compactMap(\.self)
    }

    static let none = ResourceLimits(memory: nil, cpu: nil, tasks: nil, openFiles: nil)

    /// The properties that make a running unit, which has these limits, obey others: org.freedesktop.systemd1(5). Nil
    /// if that takes a restart: for open files, and for tasks without a limit, which then have systemd's default.
    public func properties(for new: ResourceLimits) -> [(name: String, value: UInt64)]? {
        guard openFiles == new.openFiles, tasks == new.tasks || new.tasks != nil else { return nil }
        var properties: [(name: String, value: UInt64)] = []
        if memory != new.memory { properties.append(("MemoryMax", new.memory.map { UInt64($0) } ?? .max)) }
        // Microseconds of processor time in a second.
        if cpu != new.cpu { properties.append(("CPUQuotaPerSecUSec", new.cpu.map { UInt64($0) * 10_000 } ?? .max)) }
        if let tasks = new.tasks, tasks != self.tasks { properties.append(("TasksMax", UInt64(tasks))) }
        return properties
    }

    static let fieldType = FieldType<ResourceLimits>(
        schema: JSONObject(
            type: "object",
            [
                "additionalProperties": false,
                "properties": [
                    "memory": nullable(memoryType), "cpus": nullable(cpuType), "tasks": nullable(tasksType),
                    "open_files": nullable(openFilesType),
                ],
            ]
        ),
        read: { value in
            guard var members = MemberReader(value, ["memory", "cpus", "tasks", "open_files"]) else {
                return .problem("must be an object, not \(value.typeName)")
            }
            let limits = ResourceLimits(
                memory: members.read("memory", memoryType),
                cpu: members.read("cpus", cpuType),
                tasks: members.read("tasks", tasksType),
                openFiles: members.read("open_files", openFilesType)
            )
            if let problem = members.problem { return .problem(problem.reason, path: problem.path) }
            return .value(limits)
        },
        write: { limits in
            [
                "memory": limits.memory.map(memoryType.write) ?? .null, "cpus": limits.cpu.map(cpuType.write) ?? .null,
                "tasks": limits.tasks.map(tasksType.write) ?? .null,
                "open_files": limits.openFiles.map(openFilesType.write) ?? .null,
            ]
        }
    )

    private static func nullable<Value>(_ type: FieldType<Value>) -> JSONValue {
        ["anyOf": [.object(type.schema), ["type": "null"]]]
    }

    private static let tasksType = FieldType.integer(SpecLimits.tasksRange)
    private static let openFilesType = FieldType.integer(SpecLimits.openFilesRange)

    private static let cpuType = FieldType<Int>(
        schema: JSONObject(
            type: "number",
            [
                "minimum": .number(JSONNumber(hundredths: SpecLimits.cpuRange.lowerBound)),
                "maximum": .number(JSONNumber(hundredths: SpecLimits.cpuRange.upperBound)),
            ]
        ),
        read: { value in
            guard case .number(let number) = value else {
                return .problem(FieldType<Int>.mismatch(value, "a number"))
            }
            guard let hundredths = number.hundredths, SpecLimits.cpuRange.contains(hundredths) else {
                return .problem("must be from 0.01 to 1024, with at most two decimals")
            }
            return .value(hundredths)
        },
        write: { .number(JSONNumber(hundredths: $0)) }
    )

    /// Bytes, or text with one of the suffixes K, M, G and T, powers of 1024 as in systemd.resource-control(5).
    private static let memoryType = FieldType<Int>(
        schema: {
            var schema = JSONObject()
            let number = FieldType.integer(SpecLimits.memoryRange).schema
            schema.append("anyOf", [.object(number), ["type": "string", "pattern": "^[0-9]+[KMGT]?$"]])
            return schema
        }(),
        read: { value in
            let bytes: Int?
            switch value {
            case .number(let number): bytes = number.integer
            case .string(let text): bytes = Self.bytes(of: text)
            default: return .problem(FieldType<Int>.mismatch(value, "a number of bytes, or text as \"512M\""))
            }
            guard let bytes, SpecLimits.memoryRange.contains(bytes) else {
                return .problem("must be a number of bytes, or text as \"512M\", from 1M to 1024T")
            }
            return .value(bytes)
        },
        write: { .number(JSONNumber($0)) }
    )

    private static func bytes(of text: String) -> Int? {
        guard let last = text.utf8.last, let first = text.utf8.first, (0x30...0x39).contains(first) else { return nil }
        let power = "KMGT".utf8.enumerated().first { $0.element == last }.map { $0.offset + 1 } ?? 0
        guard let number = Int(power == 0 ? text[...] : text.dropLast()) else { return nil }
        let (bytes, isTooLarge) = number.multipliedReportingOverflow(by: 1 << (10 * power))
        return isTooLarge ? nil : bytes
    }
}
