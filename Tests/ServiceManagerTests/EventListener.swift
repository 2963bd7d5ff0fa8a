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
    private let firstSequence: Int
    /// All events so far.
    private(set) var events: [ServiceEvent] = []

    /// Comes before what is told from now on.
    init(_ rig: Rig) async throws {
        self.rig = rig
        firstSequence = rig.manager.announcements.log.nextSequence
        let position = EventPosition(bootID: Rig.bootID, sequence: firstSequence - 1)
        reader = try await rig.manager.readEvents(after: position)
    }

    /// The next events, at least so many and whatever else there is:
    /// "state running>starting activating/auto-restart pid - exit 3".
    func next(_ count: Int) async throws -> [String] {
        let before = events.count
        let arrived = try await eventually {
            self.rig.manager.announcements.log.nextSequence >= self.nextSequence(after: count)
        }
        #expect(arrived, "there are not \(count) events")
        try await turnLoop()
        let missing = rig.manager.announcements.log.nextSequence - nextSequence(after: 0)
        while events.count < before + missing {
            guard case .events(let more) = await reader.next() else {
                Issue.record("no events")
                break
            }
            events += more
        }
        return events.dropFirst(before).map(Self.describe)
    }

    func expect(_ expected: [String], sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let told = try await next(expected.count)
        #expect(told == expected, sourceLocation: sourceLocation)
    }

    private func nextSequence(after count: Int) -> Int { firstSequence + events.count + count }

    private static func describe(_ event: ServiceEvent) -> String {
        let service = event.service
        let change = "\(event.previousStatus.map(\.rawValue) ?? "-")>\(service.status)"
        let state = "\(service.state.activeState.rawValue)/\(service.state.subState)"
        let pid = service.state.mainPID.map(String.init) ?? "-"
        let exit = service.record.run.ending.map { String($0.exitCode) } ?? "-"
        return "\(event.kind) \(change) \(state) pid \(pid) exit \(exit)"
    }
}
