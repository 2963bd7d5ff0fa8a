internal import JSON

/// The name of a service, unique among those that are not removed: `[a-z][a-z0-9-]{0,62}`, and for a service of an
/// account's own (`Account`) that name, a dot and the uid of the account: `web.1000`.
public struct ServiceName: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The longest name, in characters, without the uid.
    public static let lengthLimit = 63

    public let description: String

    /// Nil when the text is no name.
    public init?(_ text: String) {
        guard ServiceName.problem(in: text) == nil else { return nil }
        description = text
    }

    /// The name for the services of one account: ``local`` is the same for different accounts. Nil when the text is no
    /// name, or has a uid.
    public init?(_ text: String, of uid: UInt32) {
        guard ServiceName.problem(inLocal: text[...]) == nil else { return nil }
        description = "\(text).\(uid)"
    }

    /// The uid of the account whose own service it is; nil for any other service.
    public var owner: UInt32? {
        guard let dot = description.utf8.lastIndex(of: UInt8(ascii: ".")) else { return nil }
        return UInt32(description[description.index(after: dot)...])
    }

    /// The name without the uid: what the account calls its service.
    public var local: Substring { description.prefix { $0 != "." } }

    /// Whether the text is one is up to the caller.
    fileprivate init(unchecked text: String) {
        description = text
    }

    /// The name of a spec that has none yet.
    static let missing = ServiceName(unchecked: "")

    /// The value of the field that names a service.
    static let fieldType = FieldType<ServiceName>(
        schema: JSONObject(type: "string", ["pattern": "^[a-z][a-z0-9-]*$", "maxLength": 63]),
        read: { value in
            guard case .string(let text) = value else {
                return .problem(FieldType<String>.mismatch(value, "a string"))
            }
            return problem(in: text).map { .problem($0) } ?? .value(ServiceName(unchecked: text))
        },
        write: { .string($0.description) }
    )

    /// Why the text is no name; nil when it is one.
    static func problem(in text: String) -> String? {
        guard let dot = text.utf8.firstIndex(of: UInt8(ascii: ".")) else { return problem(inLocal: text[...]) }
        let uid = text[text.index(after: dot)...]
        // One text for each uid, without a sign or leading zeros. Root has no services of its own.
        guard let number = UInt32(uid), number > 0, String(number) == uid else {
            return "may hold only a to z, 0 to 9 and '-'"
        }
        return problem(inLocal: text[..<dot])
    }

    private static func problem(inLocal text: Substring) -> String? {
        let bytes = text.utf8
        guard let first = bytes.first else { return "must not be empty" }
        guard bytes.count <= lengthLimit else { return "must be at most \(lengthLimit) characters long" }
        guard isLetter(first) else { return "must start with a letter a to z" }
        guard bytes.allSatisfy({ isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") }) else {
            return "may hold only a to z, 0 to 9 and '-'"
        }
        return nil
    }

    /// Why a new service may not have the name; nil when it may. Services of version 0.1.0 keep theirs.
    ///
    /// systemd applies the drop-ins of `miosa-service-a-.service.d` to every unit whose name begins with
    /// `miosa-service-a-` (systemd.unit(5)): the drop-ins of `a-` would be those of `a-b`. Paths take a name or an id.
    public var problemOfNew: String? {
        if local.hasSuffix("-") { return "must not end in '-'" }
        return Self.isUUID(local) ? "must not be a UUID" : nil
    }

    /// Whether a text has the form of RFC 9562 §4, as the ids of services.
    public static func isUUID(_ text: Substring) -> Bool {
        let parts = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        return parts.map(\.count) == [8, 4, 4, 4, 12]
            && parts.allSatisfy { part in
                part.allSatisfy { isDigit($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0) }
            }
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    public static func < (left: ServiceName, right: ServiceName) -> Bool { left.description < right.description }
}
