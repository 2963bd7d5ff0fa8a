/// A request method. RFC 9110 §9.1: any token, case-sensitive; what is not implemented is the server's to refuse.
public struct Method: RawRepresentable, Hashable, Sendable {
    public let rawValue: String

    public static let get = Method("GET")
    public static let head = Method("HEAD")
    public static let post = Method("POST")
    public static let put = Method("PUT")
    public static let delete = Method("DELETE")
    public static let patch = Method("PATCH")
    public static let options = Method("OPTIONS")

    static let connect = Method("CONNECT")

    /// Nil when `rawValue` is not a token (RFC 9110 §5.6.2).
    public init?(rawValue: String) {
        guard !rawValue.isEmpty, rawValue.utf8.allSatisfy(\.isTokenCharacter) else { return nil }
        self.rawValue = rawValue
    }

    private init(_ token: String) {
        rawValue = token
    }
}

extension Method: CustomStringConvertible {
    public var description: String { rawValue }
}
