/// The name of a service, unique among those that are not removed: `[a-z][a-z0-9-]{0,62}`.
public struct ServiceName: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The longest name, in characters.
    public static let lengthLimit = 63

    public let description: String

    /// Nil when the text is no name.
    public init?(_ text: String) {
        guard ServiceName.problem(in: text) == nil else { return nil }
        description = text
    }

    /// Why the text is no name; nil when it is one.
    static func problem(in text: String) -> String? {
        let bytes = text.utf8
        guard let first = bytes.first else { return "must not be empty" }
        guard bytes.count <= lengthLimit else { return "must be at most \(lengthLimit) characters long" }
        guard isLetter(first) else { return "must start with a letter a to z" }
        guard bytes.allSatisfy({ isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") }) else {
            return "may hold only a to z, 0 to 9 and '-'"
        }
        return nil
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    public static func < (left: ServiceName, right: ServiceName) -> Bool { left.description < right.description }
}
