/// What an identity may do. Each role may do what the ones before it may.
public enum Role: String, CaseIterable, Comparable, Sendable {
    /// `/metrics`, and the details of `/healthz` and `/readyz`.
    case metrics
    /// Every GET. The values of environment variables are hidden.
    case read
    /// Everything.
    case admin

    public static func < (left: Role, right: Role) -> Bool { left.rank < right.rank }

    private var rank: Int { Self.allCases.firstIndex(of: self)! }
}
