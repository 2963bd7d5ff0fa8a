import JSON
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

/// What one account sees and changes of a machine with services of others.
@Suite(.onEventLoop, .serialized, .hangLimit)
struct AccountServicesTests {
    private static let alice = Account(uid: 1000, name: "alice", home: "/")
    private static let bob = Account(uid: 1001, name: "bob", home: "/")
    private static let requester = Requester(uid: 1000, requestID: "r")

    private static func spec(_ name: String, of account: Account) throws -> ServiceSpec {
        try Rig.spec(name) { draft in
            draft["user"] = .string(account.name)
            draft.account = account.uid
        }
    }

    /// Root's "web", an administrator's "site" that runs as alice, and "web" of bob.
    @EventLoopActor private func rig() async throws -> Rig {
        let rig = try await Rig.serving()
        _ = try await rig.manager.create(try Rig.spec("site") { $0["user"] = "alice" })
        _ = try await rig.manager.services(of: Self.bob).create(try Self.spec("web", of: Self.bob))
        #expect(try await eventually { rig.manager.list().allSatisfy { $0.status == .running } })
        return rig
    }

    @Test @EventLoopActor func `others do not exist`() async throws {
        let rig = try await rig()
        let control = rig.manager.services(of: Self.alice)
        #expect(try control.list().map(\.name.description) == ["site"])
        let strangers = try ["web", "web.1001"].map { name in
            try #require(rig.manager.list().first { $0.name.description == name })
        }
        let before = rig.manager.list()
        for reference in strangers.flatMap({ [$0.name.description, $0.record.id] }) + ["none"] {
            #expect(throws: ControlError.serviceNotFound) { try control.service(reference) }
            await #expect(throws: ControlError.serviceNotFound) { try await control.unitFile(reference) }
            await #expect(throws: ControlError.serviceNotFound) { try await control.start(reference) }
            await #expect(throws: ControlError.serviceNotFound) { try await control.stop(reference) }
            await #expect(throws: ControlError.serviceNotFound) { try await control.restart(reference) }
            await #expect(throws: ControlError.serviceNotFound) {
                try await control.delete(reference, by: Self.requester)
            }
            await #expect(throws: ControlError.serviceNotFound) { try await control.readLog(reference, LogQuery()) }
            await #expect(throws: ControlError.serviceNotFound) {
                try await control.wait(for: .running, of: reference, within: .zero)
            }
        }
        #expect(await control.usage(of: strangers.map(\.name)).isEmpty)
        #expect(await control.measurements().services.map(\.name.description) == ["site"])
        #expect(rig.manager.list() == before)
    }

    @Test @EventLoopActor func `the names of others are free`() async throws {
        let rig = try await rig()
        let control = rig.manager.services(of: Self.alice)
        let created = try await control.create(try Self.spec("web", of: Self.alice))
        #expect(created.name.description == "web.1000")
        #expect(try await eventually { rig.status("web.1000") == .running })
        #expect(try await control.stop("web").status == .stopped)
        #expect(
            rig.manager.list().map { "\($0.name) \($0.status)" }
                == ["site running", "web running", "web.1000 stopped", "web.1001 running"]
        )
        await #expect(throws: ControlError.serviceExists) {
            try await control.create(try Self.spec("web", of: Self.alice))
        }
        // An administrator's service that runs as the account is the account's as well.
        await #expect(throws: ControlError.serviceExists) {
            try await control.create(try Self.spec("site", of: Self.alice))
        }
        let (site, isNew) = try await control.replace(try Self.spec("site", of: Self.alice))
        #expect((site.name.description, isNew, site.record.spec.account) == ("site", false, 1000))
        #expect(try await control.delete("web", by: Self.requester).description == "web.1000")
        #expect(try await control.listRemoved().map(\.record.spec.name.description) == ["web.1000"])
        #expect(try await rig.manager.services(of: Self.bob).listRemoved().isEmpty)
    }

    /// What a change of "site" fails with.
    @EventLoopActor private static func failure(of verb: String, _ control: any ServiceControl) async -> ControlError? {
        do throws(ControlError) {
            switch verb {
            case "stop": _ = try await control.stop("site")
            case "restart": _ = try await control.restart("site")
            case "delete": _ = try await control.delete("site", by: requester)
            default: if let spec = try? spec("site", of: alice) { _ = try await control.replace(spec) }
            }
            return nil
        } catch {
            return error
        }
    }

    @Test @EventLoopActor func `a service that is given away while a change waits is not changed`() async throws {
        let rig = try await rig()
        let control = rig.manager.services(of: Self.alice)
        let name = try #require(ServiceName("site"))
        let turn = Promise<Void>()
        let ended = Arrivals<ControlError?>()
        EventLoop.start {
            try? await rig.manager.operationQueue.run(name) { () throws(ControlError) in await turn.wait() }
        }
        let verbs = ["stop", "restart", "delete", "replace"]
        for verb in verbs {
            EventLoop.start { ended.add(await Self.failure(of: verb, control)) }
        }
        try await turnLoop()
        let given = try Rig.spec("site") { $0["user"] = "root" }
        rig.manager.services.change(name) { $0.record.spec = given }
        let before = try rig.manager.service("site")
        turn.fulfil()
        for _ in verbs { #expect(try await ended.next() == .serviceNotFound) }
        #expect(try rig.manager.service("site") == before)
    }

    @Test @EventLoopActor func `an account has a number of services, and others have room`() async throws {
        let rig = try await rig()
        let control = rig.manager.services(of: Self.alice)
        for number in 1...Account.servicesLimit {
            _ = try await control.create(try Self.spec("s\(number)", of: Self.alice))
        }
        let error = ControlError.tooManyServices(limit: Account.servicesLimit)
        await #expect(throws: error) { try await control.create(try Self.spec("more", of: Self.alice)) }
        await #expect(throws: error) { try await control.replace(try Self.spec("more", of: Self.alice)) }
        await #expect(throws: error) { try await control.replace(try Self.spec("site", of: Self.alice)) }
        _ = try await rig.manager.services(of: Self.bob).create(try Self.spec("more", of: Self.bob))
        _ = try await rig.manager.create(try Rig.spec("more"))
        #expect(try await eventually { rig.manager.list().allSatisfy { $0.status == .running } })
        // At once, when one has become free.
        _ = try await control.delete("s1", by: Self.requester)
        let results = Arrivals<Bool>()
        for number in 1...3 {
            EventLoop.start {
                results.add((try? await control.create(try Self.spec("n\(number)", of: Self.alice))) != nil)
            }
        }
        var created = 0
        for _ in 1...3 where try await results.next() { created += 1 }
        #expect(created == 1)
    }

    @Test @EventLoopActor func `streams and changes of an account have their own limits`() async throws {
        let rig = try await rig()
        let control = rig.manager.services(of: Self.alice)
        var open: [any EventReading] = []
        for _ in 1...Account.streamsLimit { open.append(try await control.readEvents(after: nil)) }
        let error = ControlError.tooManyStreams(limit: Account.streamsLimit)
        await #expect(throws: error) { try await control.readEvents(after: nil) }
        await #expect(throws: error) { try await control.readLog("site", LogQuery()) }
        #expect(rig.manager.streamCounts.events == 0)
        _ = try await rig.manager.services(of: Self.bob).readEvents(after: nil)
        open.removeAll()
        _ = try await control.readEvents(after: nil)

        let count = 2 * Account.changesAtATime
        for number in 1...count { _ = try await control.create(try Self.spec("s\(number)", of: Self.alice)) }
        #expect(try await eventually { rig.manager.list().allSatisfy { $0.status == .running } })
        rig.systemd.script = { _ in nil }
        let before = rig.systemd.calls(of: "StopUnit").count
        for number in 1...count { EventLoop.start { _ = try? await control.stop("s\(number)") } }
        func begun() -> Int { rig.systemd.calls(of: "StopUnit").count - before }
        #expect(try await eventually { begun() == Account.changesAtATime })
        try await turnLoop()
        #expect(begun() == Account.changesAtATime)
        let stopping = rig.systemd.calls(of: "StopUnit").dropFirst(before)
        rig.systemd.obey()
        for call in stopping {
            let unit = try #require(call.split(separator: " ").first { $0.hasSuffix(".service") }.map(String.init))
            let name = String(unit.dropFirst("miosa-service-".count).dropLast(".service".count))
            let running = try #require(rig.systemd.units[unit])
            rig.systemd.report(name, running.ended("inactive", "dead", code: 2, status: 15, result: "success"))
            rig.systemd.endJob(name)
        }
        #expect(try await eventually { begun() == count })
        withExtendedLifetime(open) {}
    }

    @Test @EventLoopActor func `events are those of the account`() async throws {
        let rig = try await rig()
        let events = try await rig.manager.services(of: Self.alice).readEvents(after: nil)
        guard case .snapshot(let services, _, _) = await events.next() else {
            Issue.record("no snapshot")
            return
        }
        #expect(services.map(\.name.description) == ["site"])
        _ = try await rig.manager.stop("web")
        _ = try await rig.manager.services(of: Self.bob).stop("web")
        _ = try await rig.manager.stop("site")
        guard case .events(let told) = await events.next() else {
            Issue.record("no events")
            return
        }
        #expect(Set(told.map(\.service.name.description)) == ["site"])
    }

    @Test @EventLoopActor func `who holds a port is not named`() async throws {
        let rig = try await rig()
        let name = try #require(ServiceName("site"))
        rig.manager.services.change(name) { service in
            var evidence = RunDiagnosis.Evidence()
            evidence.portHolder = "the service 'web'"
            service.remarks.diagnosis = RunDiagnosis(of: service.record, evidence, systemPath: "")
        }
        #expect(try rig.manager.service("site").diagnosis?.portHolder == "the service 'web'")
        let control = rig.manager.services(of: Self.alice)
        for service in try control.list() + [control.service("site")] {
            #expect(service.diagnosis?.portHolder == "another process")
        }
    }
}

extension ServiceControl {
    fileprivate func create(_ spec: ServiceSpec) async throws(ControlError) -> Service {
        try await create(spec, starts: true)
    }

    fileprivate func delete(_ name: String, by requester: Requester) async throws(ControlError) -> ServiceName {
        try await delete(name, by: requester) { _ in true }
    }

    fileprivate func replace(_ spec: ServiceSpec) async throws(ControlError) -> (service: Service, isNew: Bool) {
        try await replace(spec, restarts: true)
    }
}
