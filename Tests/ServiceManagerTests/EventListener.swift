import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

/// A reader of events in a test, who knows the services already.
@EventLoopActor
final class EventListener {
    private let rig: Rig
    private let reader: any EventReading
    /// The sequence number of the next event that is read.
    private var nextSequence: Int
    /// All events so far, without those of runs.
    private(set) var events: [ServiceEvent] = []
    /// The events of runs so far.
    private(set) var runs: [ServiceEvent] = []

    /// Comes before what is told from now on.
    init(_ rig: Rig) async throws {
        self.rig = rig
        nextSequence = rig.manager.announcements.log.nextSequence
        let position = EventPosition(bootID: Rig.bootID, sequence: nextSequence - 1)
        reader = try await rig.manager.readEvents(after: position)
    }

    /// The next events, at least so many and whatever else there is, without those of runs, which are told later:
    /// "state running>starting activating/auto-restart pid - exit 3".
    func next(_ count: Int) async throws -> [String] {
        let before = events.count
        #expect(try await eventually { self.unread { $0 != .run } >= count }, "there are not \(count) events")
        try await turnLoop()
        try await readAll()
        return events.dropFirst(before).map(Self.describe)
    }

    /// The records of the next runs, at least so many and whatever else there is.
    func nextRuns(_ count: Int) async throws -> [EndedRun] {
        let before = runs.count
        #expect(try await eventually { self.unread { $0 == .run } >= count }, "there are not \(count) runs")
        try await readAll()
        return runs.dropFirst(before).compactMap(\.run)
    }

    private func unread(_ isCounted: (ServiceEvent.Kind) -> Bool) -> Int {
        let unread =
            rig.manager.announcements.log.events(from: nextSequence, bytes: StreamLimits.eventsBytesLimit) ?? []
        return unread.count { isCounted($0.kind) }
    }

    private func readAll() async throws {
        while nextSequence < rig.manager.announcements.log.nextSequence {
            guard case .events(let more) = await reader.next() else {
                Issue.record("no events")
                break
            }
            nextSequence += more.count
            for event in more {
                if event.kind == .run { runs.append(event) } else { events.append(event) }
            }
        }
    }

    func expect(_ expected: [String], sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let told = try await next(expected.count)
        #expect(told == expected, sourceLocation: sourceLocation)
    }

    private static func describe(_ event: ServiceEvent) -> String {
        let service = event.service
        let change = "\(event.previousStatus.map(\.rawValue) ?? "-")>\(service.status)"
        let state = "\(service.state.activeState.rawValue)/\(service.state.subState)"
        let pid = service.state.mainPID.map(String.init) ?? "-"
        let exit = service.record.run.ending.map { String($0.exitCode) } ?? "-"
        return "\(event.kind) \(change) \(state) pid \(pid) exit \(exit)"
    }
}
