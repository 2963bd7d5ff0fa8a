/// Which computer this is, in the platform's words.
public struct ComputerIdentity: Equatable, Sendable {
    public var computerID: String
    public var tenantID: String?

    public init(computerID: String, tenantID: String?) {
        self.computerID = computerID
        self.tenantID = tenantID
    }
}
