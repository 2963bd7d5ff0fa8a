internal import JSON

/// When systemd restarts the service automatically: systemd.service(5), `Restart=`.
public enum RestartPolicy: String, CaseIterable, Sendable {
    case always
    case onFailure = "on-failure"
    case no
}

/// The start limit: systemd.unit(5), `StartLimitBurst=`, `StartLimitIntervalSec=`.
public struct RestartLimit: Equatable, Sendable {
    public let starts: Int
    public let seconds: Int

    var lines: [String] { ["StartLimitIntervalSec=\(seconds)", "StartLimitBurst=\(starts)"] }

    static let fieldType = FieldType<RestartLimit>(
        schema: JSONObject(
            type: "object",
            [
                "required": ["starts", "within"], "additionalProperties": false,
                "properties": [
                    "starts": .object(startsType.schema), "within": .object(secondsType.schema),
                ],
            ]
        ),
        read: { value in
            guard var members = MemberReader(value, ["starts", "within"]) else {
                return .problem("must be an object with 'starts' and 'within', or null, not \(value.typeName)")
            }
            let starts = members.read("starts", startsType)
            let seconds = members.read("within", secondsType)
            if let problem = members.problem { return .problem(problem.reason, path: problem.path) }
            guard let starts, let seconds else { return .problem("must have both 'starts' and 'within'") }
            return .value(RestartLimit(starts: starts, seconds: seconds))
        },
        write: { ["starts": .number(JSONNumber($0.starts)), "within": .number(JSONNumber($0.seconds))] }
    )

    private static let startsType = FieldType.integer(SpecLimits.restartStartsRange)
    private static let secondsType = FieldType.integer(SpecLimits.restartWithinRange)
}
