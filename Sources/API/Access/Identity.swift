/// A client that is known by its token.
public final class Identity: Sendable {
    public let name: String
    public let role: Role
    let token: BearerToken

    /// The identity of the platform outside the computer. Where it exists, the host needs its token over vsock as well.
    public static let controlPlane = "control-plane"

    /// The longest name, in bytes.
    public static let nameBytesLimit = 64

    public init(_ name: String, _ role: Role, _ token: BearerToken) {
        self.name = name
        self.role = role
        self.token = token
    }

    /// Whether a text can be a name: 1 to ``nameBytesLimit`` letters, digits, `-` and `_`.
    public static func isName(_ text: String) -> Bool {
        (1...nameBytesLimit).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }

    fileprivate func isSame(as other: Identity) -> Bool {
        name == other.name && role == other.role && token == other.token
    }
}

/// The identities that are valid at a time, sorted by name. A name occurs once.
public struct Identities: Sendable {
    public let all: [Identity]
    private let sha256: @Sendable ([UInt8]) -> [UInt8]

    /// `sha256` is that hash function, for tokens that are stored as digests.
    public init(_ identities: [Identity], sha256: @escaping @Sendable ([UInt8]) -> [UInt8]) {
        all = identities.sorted { $0.name < $1.name }
        self.sha256 = sha256
    }

    public var isEmpty: Bool { all.isEmpty }

    /// The identity with a name; nil for none.
    public func named(_ name: String) -> Identity? { all.first { $0.name == name } }

    /// An identity before `identity` in the list that has the same token; nil for none.
    public func sharesToken(_ identity: Identity) -> Identity? {
        let digest = identity.token.digest(sha256)
        return all.prefix { $0 !== identity }.first { $0.token.digest(sha256) == digest }
    }

    /// The identity whose token an Authorization field carries. Takes the same time for every token of the same length:
    /// it is compared with all.
    public func identity(of authorization: String?) -> Identity? {
        guard let presented = PresentedToken(authorization) else { return nil }
        var found: Identity?
        for identity in all where identity.token.matches(presented, sha256) { found = identity }
        return found
    }

    /// The same identities; an unchanged one is the object of `former`.
    public func keeping(_ former: Identities) -> Identities {
        let kept = all.map { identity in former.all.first { $0.isSame(as: identity) } ?? identity }
        return Identities(kept, sha256: sha256)
    }

    /// Whether an identity is among them, unchanged.
    public func contains(_ identity: Identity) -> Bool { all.contains { $0 === identity } }

    /// The changes since `former` as a sentence, without secrets.
    public func changes(since former: Identities) -> String {
        func describe(_ identity: Identity) -> String { "'\(identity.name)' (\(identity.role.rawValue))" }
        var changes: [String] = []
        for identity in all where !former.contains(identity) {
            guard let before = former.named(identity.name) else {
                changes.append("\(describe(identity)) was added")
                continue
            }
            if before.token != identity.token { changes.append("\(describe(identity)) has another token") }
            if before.role != identity.role {
                changes.append("'\(identity.name)' has the role \(identity.role.rawValue), not \(before.role.rawValue)")
            }
        }
        for identity in former.all where named(identity.name) == nil {
            changes.append("\(describe(identity)) was removed")
        }
        return changes.isEmpty ? "no identity has changed" : changes.joined(separator: ", ")
    }
}
