/// The members of an object, in order, each key once. Keys are compared byte for byte.
///
/// Lookup is linear: the objects of an API have some twenty members.
public struct JSONObject: Sendable {
    private struct Member: Sendable, Equatable {
        let key: String
        let value: JSONValue

        static func == (left: Member, right: Member) -> Bool {
            left.key.utf8.elementsEqual(right.key.utf8) && left.value == right.value
        }
    }

    private var members: [Member] = []

    /// An object without members.
    public init() {}

    /// The value of a member, nil when there is none with that key.
    public subscript(_ key: String) -> JSONValue? {
        members.first { $0.key.utf8.elementsEqual(key.utf8) }?.value
    }

    /// Adds a member at the end. Precondition: there is none with that key.
    public mutating func append(_ key: String, _ value: JSONValue) {
        precondition(self[key] == nil, "an object has each key once")
        appendUnchecked(key, value)
    }

    /// Adds a member whose key the caller knows to be new, without a search.
    mutating func appendUnchecked(_ key: String, _ value: JSONValue) {
        members.append(Member(key: key, value: value))
    }
}

extension JSONObject: RandomAccessCollection {
    public var startIndex: Int { 0 }
    public var endIndex: Int { members.count }

    public subscript(position: Int) -> (key: String, value: JSONValue) {
        (members[position].key, members[position].value)
    }
}

/// Equal when the members are, in the same order.
extension JSONObject: Equatable {}
