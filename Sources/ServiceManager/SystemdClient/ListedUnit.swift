internal import Services
internal import Systemd

/// A unit in the answer of ListUnitsByPatterns: org.freedesktop.systemd1(5).
struct ListedUnit {
    let unit: String
    let activeState: ActiveState
    let subState: String
    let path: String

    /// Reads the members of a structure that has been entered. Throws when they are not as documented.
    init(reading reply: borrowing MessageReader) throws(SystemError) {
        unit = try reply.string()
        // Its description, and whether its file could be loaded.
        for _ in 0..<2 { try reply.skip() }
        activeState = ActiveState(rawValue: try reply.string())
        subState = try reply.string()
        // Which unit it follows.
        try reply.skip()
        path = try reply.string()
        // Its job: a unit that runs has no start to come.
        for _ in 0..<3 { try reply.skip() }
    }
}
