import FuzzSupport
import HTTP
import Services

@testable import API

/// What the documented parameters may mean.
enum Parameters {
    /// 2026-11-22T12:00:00Z.
    private static let now = Timestamp(microseconds: 1_795_348_800_000_000)

    static func check(_ query: Query) {
        if let log = try? LogParameters.query(query, follows: false, now: now) {
            checkLog(log, query)
            let fromTheEnd = try? LogParameters.query(query, follows: true, now: now)
            let isSaid = query.first("follow") != nil
            require(fromTheEnd?.isFollowing == (isSaid ? log.isFollowing : true), "what is not said is as usual", query)
        }
        if let wait = try? Wait.requested(by: query) {
            require(query.first("wait") == wait.state.rawValue, "the state that is named is waited for", query)
            require((.seconds(1) ... .seconds(300)).contains(wait.timeout), "a wait is within its limit", query)
        }
        if let statuses = try? ServiceRoutes.statuses(query) {
            require(!statuses.isEmpty && statuses.count <= 5, "a filter lets something through", query)
            let words = statuses.map(\.rawValue).joined(separator: ",")
            let again = try? ServiceRoutes.statuses(Query(parsing: "status=\(words)"))
            require(again == statuses, "a filter is the same when it is written out", query)
        }
    }

    private static func checkLog(_ log: LogQuery, _ query: Query) {
        require(log.tail.map { (0...1_000_000).contains($0) } ?? true, "a count is within its limit", query)
        let isSaid = query.first("tail") != nil || query.first("lines") != nil
        require(isSaid || log.tail == 1000, "by default there are 1,000 lines", query)
        switch log.boot {
        case .id(let id):
            let isID = id.utf8.count == 32 && id.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
            require(isID, "a boot has an id as systemd writes it", query)
        case .back(let count): require((0...1000).contains(count), "a boot is one of the last", query)
        case nil: require(query.first("boot") == nil, "a boot that is asked for is not forgotten", query)
        }
        for (name, moment) in [("since", log.since), ("until", log.until)] {
            require((moment == nil) == (query.first(name) == nil), "a time that is asked for is not forgotten", query)
            guard let moment else { continue }
            // 0000-01-01 at the easternmost, 33658-09-27: twelve digits of seconds.
            let range = -62_167_305_600_000_000...1_000_000_000_000_000_000 as ClosedRange<Int64>
            require(range.contains(moment.microseconds), "a time is within what can be written", query)
            check(moment)
            if let seconds = query.first(name).flatMap(Clock.seconds) {
                let found =
                    (moment.microseconds - (moment.microseconds % 1_000_000 + 1_000_000) % 1_000_000) / 1_000_000
                require(found == seconds, "a date is what the C library makes of it", query)
            }
        }
    }

    /// The first moment of the year 0, and of the year 10000.
    private static let years: Range<Int64> = -62_167_219_200_000_000..<253_402_300_800_000_000

    /// A time is the same to the millisecond when it is written out and read again, in each form.
    private static func check(_ moment: Timestamp) {
        let milliseconds = moment.microseconds - (moment.microseconds % 1000 + 1000) % 1000
        let text = moment.description
        if years.contains(moment.microseconds) {
            let again = TimeParameter.parse(text, now: now)
            require(again?.microseconds == milliseconds, "a time is the same when it is written out", text)
        }
        let seconds = moment.microseconds / 1_000_000
        guard moment.microseconds >= 0, moment.microseconds % 1_000_000 == 0 else { return }
        require(TimeParameter.parse("\(seconds)", now: now) == moment, "a time is the same in seconds", text)
        let age = now.microseconds / 1_000_000 - seconds
        guard (0..<1_000_000_000).contains(age) else { return }
        require(TimeParameter.parse("\(age)s", now: now) == moment, "a time is the same as an age", text)
    }
}
