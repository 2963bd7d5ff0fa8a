internal import JSON

/// The rules of the environment of a service.
enum Variables {
    static let schema: JSONValue = [
        "maxProperties": .number(JSONNumber(SpecLimits.environmentCountLimit)),
        "propertyNames": [
            "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
            "maxLength": .number(JSONNumber(SpecLimits.environmentNameBytesLimit)),
        ],
        "additionalProperties": [
            "type": "string", "maxLength": .number(JSONNumber(SpecLimits.environmentValueBytesLimit)),
            "pattern": "^[^\\u0000]*$",
        ],
    ]

    /// Why variables are refused; nil when they are taken.
    static let problem: @Sendable ([String: String]) -> String? = { environment in
        guard environment.count <= SpecLimits.environmentCountLimit else {
            return "must have at most \(SpecLimits.environmentCountLimit) entries"
        }
        // Sorted by name, so that equal bodies get equal answers.
        for (name, value) in environment.sorted(by: { $0.key < $1.key }) {
            if let problem = entryProblem(name, value) { return problem }
        }
        let bytes = environment.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count }
        guard bytes <= SpecLimits.environmentBytesLimit else {
            return "must be at most \(SpecLimits.environmentBytesLimit) bytes in all"
        }
        return nil
    }

    private static func entryProblem(_ name: String, _ value: String) -> String? {
        guard name.utf8.count <= SpecLimits.environmentNameBytesLimit else {
            return "has a name of more than \(SpecLimits.environmentNameBytesLimit) bytes"
        }
        guard isVariableName(name) else {
            return "has the name '\(printable(name))', which is not of the form [A-Za-z_][A-Za-z0-9_]*"
        }
        // The message names the variable and never quotes its value, which may be a secret.
        guard !value.utf8.contains(0) else { return "has NUL in the value of '\(name)'" }
        guard value.utf8.count <= SpecLimits.environmentValueBytesLimit else {
            return "has a value of more than \(SpecLimits.environmentValueBytesLimit) bytes for '\(name)'"
        }
        return nil
    }

    private static func isVariableName(_ name: String) -> Bool {
        let bytes = name.utf8
        guard let first = bytes.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else { return false }
        return bytes.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
    }

    /// A name as it can stand in a message: short, without control characters.
    static func printable(_ text: String) -> String {
        String(text.prefix(40).map { $0.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f } ? $0 : "?" })
    }
}
