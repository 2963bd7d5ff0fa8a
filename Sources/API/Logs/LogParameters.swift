internal import HTTP
internal import Services

/// The query of a log: `?follow=&tail=&since=&until=&boot=`.
enum LogParameters {
    static let names = ["follow", "tail", "lines", "since", "until", "boot"]

    /// Parses the parameters; `follows` is the default of `follow`. The position to resume from is in `Last-Event-ID`
    /// of a request for an event stream. Throws a 400 for an invalid value.
    static func query(_ parameters: Query, follows: Bool, now: Timestamp) throws(Failure) -> LogQuery {
        var query = LogQuery()
        query.isFollowing = try flag("follow", parameters) ?? follows
        query.tail = try tail(parameters)
        query.since = try TimeParameter.moment("since", parameters, now)
        // Timestamps of lines are shown in milliseconds: `until` includes the whole millisecond.
        query.until = try TimeParameter.moment("until", parameters, now).map { until in
            Timestamp(microseconds: until.microseconds - until.microseconds % 1000 + 999)
        }
        query.boot = try parameters.first("boot").map { (text) throws(Failure) in try boot(text) }
        return query
    }

    private static func flag(_ name: String, _ parameters: Query) throws(Failure) -> Bool? {
        switch parameters.first(name) {
        case nil: nil
        case "true", "1": true
        case "false", "0": false
        default: throw .badRequest("the query parameter '\(name)' must be true or false")
        }
    }

    private static func tail(_ parameters: Query) throws(Failure) -> Int? {
        let given = ["tail", "lines"].compactMap { name in parameters.first(name).map { (name, $0) } }
        guard let (name, text) = given.first else { return LogQuery.defaultTail }
        guard given.allSatisfy({ $0.1 == text }) else {
            throw .badRequest("the query parameters 'tail' and 'lines' are two names for one thing and differ")
        }
        if text == "all" { return nil }
        guard text.utf8.count <= 7, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let count = Int(text),
            count <= LogQuery.tailLimit
        else { throw .badRequest("the query parameter '\(name)' must be 'all' or from 0 to \(LogQuery.tailLimit)") }
        return count
    }

    private static func boot(_ text: String) throws(Failure) -> LogQuery.Boot {
        let digits = text.utf8.filter { $0 != UInt8(ascii: "-") }
        if digits.count == 32, let id = String(validating: digits, as: UTF8.self)?.lowercased(),
            id.utf8.allSatisfy({ "0123456789abcdef".utf8.contains($0) })
        {
            return .id(id)
        }
        guard text.utf8.count <= 5, let back = Int(text), (0...LogQuery.bootsBackLimit).contains(-back) else {
            throw .badRequest(
                "the query parameter 'boot' must be a boot id, 0 for the current boot, or -1 to"
                    + " -\(LogQuery.bootsBackLimit) for one before"
            )
        }
        return .back(-back)
    }
}
