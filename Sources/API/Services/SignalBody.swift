internal import JSON
internal import Services

/// Parses the body of a request that sends a signal: `{"signal":"SIGUSR1"}`.
enum SignalBody {
    /// The number of the signal. Throws a 400 or 422.
    static func signal(of body: [UInt8]) throws(Failure) -> Int {
        let object = try JSONObject(ofBody: body)
        var problems = FieldProblems()
        for member in object where member.key != "signal" { problems.add(member.key, "is not a field of this request") }
        var number: Int?
        switch object["signal"] {
        case .string(let name):
            number = SignalName.number(name)
            if number == nil { problems.add("signal", "must be the name of a signal, as 'SIGUSR1'") }
        case nil, .null: problems.add("signal", "is required")
        case let other?: problems.add("signal", "must be a string, not \(other.typeName)")
        }
        guard problems.isEmpty, let number else { throw .invalid(problems) }
        return number
    }
}
