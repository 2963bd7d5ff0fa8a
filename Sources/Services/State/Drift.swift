/// A difference between the unit and the record, caused by a change of the unit outside the API.
public enum Drift: Equatable, Sendable {
    /// The unit's file is not the one that the agent has written.
    case unitFile(UnitFileFindings.Deviation)
    /// The link that starts it at boot was removed.
    case disabled
    /// The link that starts it at boot was made, although the service was stopped.
    case enabled
    /// A stop job that the agent did not ask for has ended it.
    case stopped
    /// The unit runs, although the service was stopped.
    case started

    /// The first that applies, in the order of the cases.
    static func of(_ service: Service) -> Drift? {
        let record = service.record
        // An outstanding change is no drift.
        guard record.phase == .established, service.state.activeState != .unknown else { return nil }
        let findings = service.remarks.unitFiles
        if let deviation = findings?.deviation { return .unitFile(deviation) }
        if let isLinked = findings?.isLinkedByHand { return isLinked ? .enabled : .disabled }
        let isDead = [.inactive, .failed].contains(service.state.activeState)
        if record.isToRun, isDead, record.run.wasStopped, service.intent != .start { return .stopped }
        return !record.isToRun && !isDead && service.state.activeState != .deactivating ? .started : nil
    }

    /// What was found, then the remedy.
    public var sentence: String {
        switch self {
        case .unitFile(let deviation): deviation.sentence
        case .disabled: "the unit was disabled by hand and does not start at boot: restart the service to enable it"
        case .enabled: "the unit was enabled by hand and starts at boot although the service was stopped"
        case .stopped: "the unit was stopped by hand: start the service to run it again"
        case .started: "the unit was started by hand after the service was stopped, and does not start at boot"
        }
    }
}

/// Drop-ins, and files in place of those that the agent has written.
public final class UnitFileFindings: Equatable, Sendable {
    /// What is in place of the unit file.
    public enum Deviation: Equatable, Sendable {
        case missing(path: String)
        /// A link to /dev/null.
        case masked(path: String)
        case edited(path: String)
        /// A unit file in a directory of higher precedence.
        case overridden(path: String)

        var sentence: String {
            let remedy = "restart or PUT the service to have it written again"
            return switch self {
            case .missing(let path): "the unit file \(path) is missing: \(remedy)"
            case .masked(let path): "the unit is masked (\(path) is a link to /dev/null): \(remedy)"
            case .edited(let path):
                "the unit file \(path) was changed by hand: \(remedy); settings of your own go into a drop-in"
            case .overridden(let path):
                "the unit file \(path) takes the place of the agent's: remove it and reload systemd"
            }
        }
    }

    /// The paths of drop-ins, in the order in which systemd applies them.
    public let dropIns: [String]
    public let deviation: Deviation?
    /// The link that starts the service at boot: true if it exists and should not, false if it is missing, nil if it is
    /// as recorded.
    public let isLinkedByHand: Bool?

    public init(dropIns: [String], deviation: Deviation?, isLinkedByHand: Bool?) {
        self.dropIns = dropIns
        self.deviation = deviation
        self.isLinkedByHand = isLinkedByHand
    }

    public static func == (left: UnitFileFindings, right: UnitFileFindings) -> Bool {
        left.dropIns == right.dropIns && left.deviation == right.deviation
            && left.isLinkedByHand == right.isLinkedByHand
    }
}
