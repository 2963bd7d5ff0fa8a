internal import JSON

/// Why the content of a file is invalid.
struct RecordProblem: Error, Equatable {
    let description: String
}

/// The members of a JSON object, read by name and type.
struct JSONMembers {
    private let object: JSONObject

    init(_ value: JSONValue?, _ name: String) throws(RecordProblem) {
        guard case .object(let object) = value else { throw RecordProblem(description: "\(name) is no object") }
        self.object = object
    }

    /// Parses the content of a file. Throws when it is not JSON or not an object.
    init(parsing bytes: [UInt8]) throws(RecordProblem) {
        let value: JSONValue
        do throws(JSONParseFailure) {
            value = try JSONParser.parse(bytes)
        } catch {
            throw RecordProblem(description: error.description)
        }
        try self.init(value, "the file")
    }

    /// The members in their order.
    var all: JSONObject { object }

    func has(_ key: String) -> Bool { object[key] != nil }

    func value(_ key: String) throws(RecordProblem) -> JSONValue {
        guard let value = object[key] else { throw RecordProblem(description: "'\(key)' is missing") }
        return value
    }

    func object(_ key: String) throws(RecordProblem) -> JSONMembers { try JSONMembers(object[key], "'\(key)'") }

    /// The objects of an array; empty when there is no such member.
    func objects(_ key: String) throws(RecordProblem) -> [JSONMembers] {
        switch object[key] {
        case .array(let elements):
            var objects: [JSONMembers] = []
            for element in elements { objects.append(try JSONMembers(element, "an element of '\(key)'")) }
            return objects
        case nil: return []
        default: throw RecordProblem(description: "'\(key)' is no array")
        }
    }

    /// The texts of an array; empty when there is no such member.
    func strings(_ key: String) throws(RecordProblem) -> [String] {
        switch object[key] {
        case .array(let elements):
            var texts: [String] = []
            for case .string(let text) in elements { texts.append(text) }
            guard texts.count == elements.count else {
                throw RecordProblem(description: "an element of '\(key)' is no string")
            }
            return texts
        case nil: return []
        default: throw RecordProblem(description: "'\(key)' is no array")
        }
    }

    func string(_ key: String) throws(RecordProblem) -> String {
        guard let text = try optionalString(key) else { throw RecordProblem(description: "'\(key)' is missing") }
        return text
    }

    func optionalString(_ key: String) throws(RecordProblem) -> String? {
        switch object[key] {
        case .string(let text): text
        case nil, .null: nil
        default: throw RecordProblem(description: "'\(key)' is no string")
        }
    }

    func integer(_ key: String) throws(RecordProblem) -> Int {
        guard let integer = try optionalInteger(key) else { throw RecordProblem(description: "'\(key)' is missing") }
        return integer
    }

    func optionalInteger(_ key: String) throws(RecordProblem) -> Int? {
        switch object[key] {
        case .number(let number):
            guard let integer = number.integer else { throw RecordProblem(description: "'\(key)' is no integer") }
            return integer
        case nil, .null: return nil
        default: throw RecordProblem(description: "'\(key)' is no number")
        }
    }

    func bool(_ key: String) throws(RecordProblem) -> Bool {
        guard case .bool(let value) = object[key] else { throw RecordProblem(description: "'\(key)' is no boolean") }
        return value
    }
}
