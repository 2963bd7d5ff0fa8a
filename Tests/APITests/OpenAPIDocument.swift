import Foundation
import JSON
import Testing

/// The API's description as tests look at it.
struct OpenAPIDocument {
    /// A method of a path.
    struct Operation {
        let method: String
        let path: String
        let object: JSONObject
        let parameters: [JSONObject]
        /// By status, with references followed.
        let responses: [String: JSONObject]

        /// As a line of the route table.
        var line: String { "\(method) \(path)" }

        func parameterNames(in location: String) -> [String] {
            parameters.filter { $0["in"] == .string(location) }.compactMap { $0["name"]?.text }
        }
    }

    let root: JSONObject

    init(parsing bytes: [UInt8]) throws {
        root = try #require(try JSONParser.parse(bytes).object)
    }

    init() throws {
        try self.init(parsing: Repository.bytes(of: "Sources/API/openapi.json"))
    }

    /// What stands at a place: "components/schemas/Error". In a key, "~1" is a slash (RFC 6901).
    func value(at place: String) throws -> JSONValue {
        try place.split(separator: "/").reduce(JSONValue.object(root)) { value, key in
            if let elements = value.array, let index = Int(key), elements.indices.contains(index) {
                return elements[index]
            }
            return try #require(value.object?[String(key).replacing("~1", with: "/")], "the document has no \(place)")
        }
    }

    func object(at place: String) throws -> JSONObject {
        try #require(try value(at: place).object, "\(place) is no object")
    }

    func texts(at place: String) throws -> [String] {
        try #require(try value(at: place).array, "\(place) is no array").compactMap(\.text)
    }

    /// An object, or what it refers to.
    func resolved(_ value: JSONValue) throws -> JSONObject {
        let object = try #require(value.object)
        guard let place = object["$ref"]?.text else { return object }
        return try self.object(at: String(place.trimmingPrefix("#/")))
    }

    var operations: [Operation] {
        get throws {
            try object(at: "paths").flatMap { path in
                try #require(path.value.object).map { method in
                    let object = try #require(method.value.object)
                    let responses = try #require(object["responses"]?.object)
                    return Operation(
                        method: method.key.uppercased(),
                        path: path.key,
                        object: object,
                        parameters: try #require(object["parameters"]?.array).map(resolved),
                        responses: try Dictionary(
                            uniqueKeysWithValues: responses.map { ($0.key, try resolved($0.value)) }
                        )
                    )
                }
            }
        }
    }

    /// The codes that an error response may have; none for one that is no error.
    func codes(of response: JSONObject) -> [String] {
        let schema = response["content"]?.object?["application/json"]?.object?["schema"]?.object
        let code = schema?["allOf"]?.array?.last?.object?["properties"]?.object?["code"]?.object
        return code?["enum"]?.array?.compactMap(\.text) ?? code?["const"]?.text.map { [$0] } ?? []
    }

    /// Whether a pattern of a schema matches somewhere in a text.
    static func isMatch(_ text: String, _ pattern: String) throws -> Bool {
        let range = NSRange(text.startIndex..., in: text)
        return try NSRegularExpression(pattern: pattern).firstMatch(in: text, range: range) != nil
    }

    /// Every value that a key of that name has, by the place of the object that it is in.
    func values(of keys: Set<String>) -> [String: JSONValue] {
        var found: [String: JSONValue] = [:]
        func visit(_ value: JSONValue, _ place: String) {
            for member in value.object ?? JSONObject() {
                let key = member.key.replacing("/", with: "~1")
                if keys.contains(key) { found["\(place)/\(key)"] = member.value }
                visit(member.value, place.isEmpty ? key : "\(place)/\(key)")
            }
            for (index, element) in (value.array ?? []).enumerated() { visit(element, "\(place)/\(index)") }
        }
        visit(.object(root), "")
        return found
    }
}

extension JSONValue {
    var object: JSONObject? { if case .object(let object) = self { object } else { nil } }
    var array: [JSONValue]? { if case .array(let array) = self { array } else { nil } }
    var text: String? { if case .string(let text) = self { text } else { nil } }
}

/// The files that the tests are built from.
enum Repository {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    static func bytes(of path: String) throws -> [UInt8] { try Array(Data(contentsOf: root.appending(path: path))) }

    static func write(_ text: String, to path: String) throws {
        try Data(text.utf8).write(to: root.appending(path: path))
    }

    static func text(of path: String) throws -> String { String(decoding: try bytes(of: path), as: UTF8.self) }

    /// The Swift sources below a folder, one after another.
    static func sources(below folder: String) throws -> String {
        let paths = try FileManager.default.subpathsOfDirectory(atPath: root.appending(path: folder).path)
        return try paths.filter { $0.hasSuffix(".swift") }.sorted().map { try text(of: "\(folder)/\($0)") }.joined()
    }
}
