internal import JSON

/// The rules of the labels of a service.
enum Labels {
    static let schema: JSONValue = [
        "maxProperties": .number(JSONNumber(SpecLimits.labelsCountLimit)),
        "propertyNames": ["pattern": "^[a-z0-9./-]{1,63}$"],
        "additionalProperties": [
            "type": "string", "maxLength": .number(JSONNumber(SpecLimits.labelValueBytesLimit)),
            "pattern": "^[^\\u0000]*$",
        ],
    ]

    static let problem: @Sendable ([String: String]) -> String? = { labels in
        guard labels.count <= SpecLimits.labelsCountLimit else {
            return "must have at most \(SpecLimits.labelsCountLimit) entries"
        }
        for (key, value) in labels.sorted(by: { $0.key < $1.key }) {
            guard isKey(key) else {
                return "has the key '\(Variables.printable(key))', which is not of the form [a-z0-9./-]{1,63}"
            }
            guard value.utf8.count <= SpecLimits.labelValueBytesLimit else {
                return "has a value of more than \(SpecLimits.labelValueBytesLimit) bytes for '\(key)'"
            }
            guard !value.utf8.contains(0) else { return "has NUL in the value of '\(key)'" }
        }
        return nil
    }

    static func isKey(_ key: String) -> Bool {
        (1...SpecLimits.labelKeyBytesLimit).contains(key.utf8.count)
            && key.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
                default: "./-".utf8.contains(byte)
                }
            }
    }
}
