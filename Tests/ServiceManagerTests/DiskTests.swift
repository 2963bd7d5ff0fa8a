import Foundation
import JSON
import Services
import Systemd
import TestSupport
import Testing

@testable import ServiceManager

/// Records with anything in them.
private struct RandomRecords {
    var generator: SplitMix64

    mutating func text(_ scalarsLimit: Int) -> String {
        var text = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0...scalarsLimit, using: &generator) {
            let limit: UInt32 = Bool.random(using: &generator) ? 0x7F : 0x10FFFF
            let value = UInt32.random(in: 1...limit, using: &generator)
            // A surrogate is no scalar.
            text.append(Unicode.Scalar(value) ?? "\"")
        }
        return String(text)
    }

    mutating func timestamp() -> Timestamp { Timestamp(microseconds: .random(in: .min ... .max, using: &generator)) }

    mutating func next(_ name: String? = nil) throws -> ServiceRecord {
        var draft = SpecDraft()
        draft["name"] = .string(name ?? "s\(UInt32.random(in: 0 ... .max, using: &generator))")
        draft["command"] = .string("x" + text(50))
        var variables: [String: String] = [:]
        for number in 0..<Int.random(in: 0...5, using: &generator) { variables["V_\(number)"] = text(30) }
        draft["env"] = JSONValue(texts: variables)
        draft["cwd"] = .string(
            "/" + text(20).filter { !$0.unicodeScalars.contains { "\r\n".unicodeScalars.contains($0) } }
        )
        draft["restart"] = RestartPolicy.allCases.randomElement(using: &generator).map { .string($0.rawValue) }
        if Bool.random(using: &generator) {
            draft["port"] = .number(JSONNumber(.random(in: 1...65535, using: &generator)))
        }
        var run = ServiceRun()
        if Bool.random(using: &generator) {
            run = ServiceRun(
                startedAt: timestamp(),
                exitedAt: timestamp(),
                ending: Bool.random(using: &generator) ? .exited(3) : .killed(signal: 9),
                result: text(10),
                hasEnded: Bool.random(using: &generator)
            )
            run.leftProcesses = Bool.random(using: &generator)
            run.wasStopped = Bool.random(using: &generator)
            run.hasMainProcess = Bool.random(using: &generator)
            run.restarts = .random(in: 0...1000, using: &generator)
            run.invocationID = text(10)
            run.bootID = text(10)
            for _ in 0..<Int.random(in: 0...3, using: &generator) {
                let pid = Int.random(in: 1...4_000_000, using: &generator)
                run.remember(ServiceRun.Process(pid: pid, startedAt: timestamp()))
            }
        }
        let phases: [ServiceRecord.Phase] = [.starting, .stopping, .deleting, .established]
        let uids: [UInt32?] = [nil, 0, .max]
        var record = ServiceRecord(
            id: text(20),
            spec: try draft.validated(defaults: SpecDraft.Defaults(user: "user")),
            createdAt: timestamp(),
            updatedAt: timestamp(),
            isToRun: Bool.random(using: &generator),
            phase: phases.randomElement(using: &generator) ?? .established,
            deletedBy: Bool.random(using: &generator)
                ? Requester(uid: uids.randomElement(using: &generator) ?? nil, requestID: text(10)) : nil,
            replacedRun: Bool.random(using: &generator) ? text(8) : nil,
            run: run
        )
        record.lacksFiles = Bool.random(using: &generator)
        return record
    }
}

@Suite struct RecordCodingTests {
    @Test(arguments: [1, 2, 0xC0FFEE] as [UInt64]) func `any record comes back as it was`(seed: UInt64) throws {
        var records = RandomRecords(generator: SplitMix64(state: seed))
        for index in 0..<300 {
            let record = try records.next()
            let bytes = RecordCoding.encode(record)
            let again = try RecordCoding.decode(bytes)
            #expect(again == record, "seed \(seed), record \(index)")
            #expect(RecordCoding.encode(again) == bytes, "seed \(seed), record \(index)")
        }
    }

    @Test func `no beginning of a record is a record`() throws {
        var records = RandomRecords(generator: SplitMix64(state: 7))
        for _ in 0..<5 {
            let bytes = RecordCoding.encode(try records.next())
            for count in bytes.indices {
                #expect(throws: RecordProblem.self, "\(count) bytes") {
                    try RecordCoding.decode(Array(bytes[..<count]))
                }
            }
        }
    }

    @Test func `a record with a byte changed is read or refused`() throws {
        var records = RandomRecords(generator: SplitMix64(state: 8))
        let bytes = RecordCoding.encode(try records.next("web"))
        var refusals = 0
        for index in bytes.indices {
            for byte in [0x00, 0x22, 0x30, 0x7B, 0xFF] as [UInt8] {
                var changed = bytes
                changed[index] = byte
                if (try? RecordCoding.decode(changed)) == nil { refusals += 1 }
            }
        }
        #expect(refusals > bytes.count)
    }

    @Test(arguments: [
        ("\"version\":1", "\"version\":2", "its version is not 1"), ("\"version\":1,", "", "'version' is missing"),
        ("\"version\":1", "\"version\":\"1\"", "'version' is no number"),
        ("\"version\":1", "\"version\":1.5", "'version' is no integer"),
        ("\"enabled\":true", "\"enabled\":1", "'enabled' is no boolean"),
        ("\"phase\":\"starting\"", "\"phase\":\"flying\"", "'phase' is unknown"),
        ("\"command\":\"server\"", "\"command\":null", "'command' is required"),
        ("\"command\":\"server\"", "\"command\":7", "'command' must be a string, not number"),
        ("\"command\":\"server\"", "\"command\":\" \"", "'command' must not be blank"),
        ("\"env\":{}", "\"env\":[]", "'env' must be an object of strings, not array"),
    ])
    func `a record that is not as it should be is refused with the reason`(
        part: String,
        replacement: String,
        reason: String
    ) throws {
        let spec = try Rig.spec("web")
        let record = ServiceRecord(id: "id", spec: spec, createdAt: Timestamp(microseconds: 0))
        let text = String(decoding: RecordCoding.encode(record), as: UTF8.self)
        #expect(text.contains(part))
        let changed = text.replacingOccurrences(of: part, with: replacement)
        let problem = #expect(throws: RecordProblem.self) { try RecordCoding.decode(Array(changed.utf8)) }
        #expect(problem?.description == reason)
    }

    @Test(arguments: ["", "[]", "null", "7", "{}", "{\"version\":1}"]) func `other JSON is no record`(text: String) {
        #expect(throws: RecordProblem.self) { try RecordCoding.decode(Array(text.utf8)) }
    }
}

@Suite struct RecordStoreTests {
    private let directory: TemporaryDirectory
    private let layout: StateLayout
    private let store: RecordStore

    init() throws {
        directory = try TemporaryDirectory()
        layout = StateLayout(stateDirectory: directory.path, unitDirectory: directory.path)
        store = RecordStore(layout)
        try store.prepare()
    }

    private func save(_ names: String...) throws -> [ServiceRecord] {
        var records = RandomRecords(generator: SplitMix64(state: 3))
        let all = try names.map { try records.next($0) }
        for record in all { try store.save(record) }
        return all
    }

    private func write(_ text: String, to file: String) throws {
        try text.write(toFile: layout.recordDirectory + "/" + file, atomically: false, encoding: .utf8)
    }

    private var files: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: layout.recordDirectory).sorted() }
    }

    @Test func `what is saved is loaded, by name, until it is removed`() throws {
        let records = try save("b", "a", "c")
        #expect(try store.load().records == [records[1], records[0], records[2]])
        let name = records[0].spec.name
        try store.remove(name)
        try store.remove(name)
        #expect(try store.load().records.map(\.spec.name.description) == ["a", "c"])
    }

    @Test func `a mark is what was asked for until the record is saved`() throws {
        let name = try #require(ServiceName("a"))
        _ = try save("a", "a-b", "b")
        for phase: ServiceRecord.Phase in [.stopping, .starting, .deleting] {
            try store.mark(name, phase)
            try store.mark(name, phase)
            #expect(try files == ["a-b.json", "a.json.\(phase.rawValue)", "b.json"])
            let loaded = try store.load()
            #expect(loaded.marked == [name])
            let record = try #require(loaded.records.first { $0.spec.name == name })
            #expect(record.phase == phase)
            #expect(record.isToRun == (phase == .starting))
        }
        // A crash between the save and the end of the mark.
        let record = try #require(try store.load().records.first { $0.spec.name == name })
        try store.save(record)
        #expect(try store.load().marked.isEmpty)
        #expect(try files == ["a-b.json", "a.json", "b.json"])
        try store.mark(name, .stopping)
        try store.save(record)
        try store.unmark(name)
        #expect(try files == ["a-b.json", "a.json", "b.json"])
        try store.mark(name, .stopping)
        try store.remove(name)
        #expect(try files == ["a-b.json", "b.json"])
    }

    @Test func `a record is for root alone`() throws {
        _ = try save("a")
        let file = try FileManager.default.attributesOfItem(atPath: layout.recordDirectory + "/a.json")
        #expect(file[.posixPermissions] as? Int == 0o600)
        let folder = try FileManager.default.attributesOfItem(atPath: layout.recordDirectory)
        #expect(folder[.posixPermissions] as? Int == 0o700)
    }

    @Test func `what cannot be read is set aside and the others are loaded`() throws {
        let records = try save("a", "z")
        try write("{\"version\":99}", to: "future.json")
        try write("", to: "empty.json")
        try FileManager.default.createSymbolicLink(
            atPath: layout.recordDirectory + "/link.json",
            withDestinationPath: layout.recordDirectory + "/a.json"
        )
        try FileManager.default.createDirectory(
            atPath: layout.recordDirectory + "/folder.json",
            withIntermediateDirectories: false
        )
        let loaded = try store.load()
        #expect(loaded.records == records)
        #expect(loaded.unreadable.map(\.file) == ["empty.json", "folder.json", "future.json", "link.json"])
        #expect(loaded.unreadable.allSatisfy { !$0.reason.isEmpty })
        let aside = ["empty", "folder", "future", "link"].map { $0 + ".json.unreadable" }
        #expect(try files == (["a.json", "z.json"] + aside).sorted())
        #expect(try store.unreadableFiles(["empty.json", "kept.json"]) == (aside + ["kept.json"]).sorted())
        #expect(
            try String(contentsOfFile: layout.recordDirectory + "/future.json.unreadable", encoding: .utf8)
                == "{\"version\":99}"
        )
        let again = try store.load()
        #expect(again.records == records && again.unreadable.isEmpty)
    }

    @Test(arguments: [0o620, 0o602]) func `a record that others could have written is set aside`(mode: Int) throws {
        let records = try save("a", "b")
        try FileManager.default.setAttributes(
            [.posixPermissions: mode],
            ofItemAtPath: layout.recordDirectory + "/a.json"
        )
        let loaded = try store.load()
        #expect(loaded.records == [records[1]])
        #expect(loaded.unreadable.map(\.reason) == ["others than root can write it"])
    }

    @Test func `a record under another's name is set aside`() throws {
        _ = try save("a")
        try FileManager.default.copyItem(
            atPath: layout.recordDirectory + "/a.json",
            toPath: layout.recordDirectory + "/b.json"
        )
        let loaded = try store.load()
        #expect(loaded.records.map(\.spec.name.description) == ["a"])
        #expect(loaded.unreadable.map(\.reason) == ["it is the record of 'a'"])
    }

    @Test func `what a crash left is removed and what is not ours stays`() throws {
        _ = try save("a")
        try write("half", to: ".a.json.tmp")
        try write("half", to: ".b.json.tmp")
        try write("note", to: "README")
        try write("note", to: ".hidden")
        let loaded = try store.load()
        #expect(loaded.records.count == 1 && loaded.unreadable.isEmpty)
        #expect(try files == [".hidden", "README", "a.json"])
    }

    @Test func `the largest record that there can be is loaded`() throws {
        var draft = SpecDraft()
        draft["name"] = "a"
        // Each of these bytes takes six in JSON.
        draft["command"] = .string(String(repeating: "\u{1}", count: SpecLimits.commandBytesLimit))
        let half = String(repeating: "\u{1}", count: SpecLimits.environmentBytesLimit / 2 - 1)
        draft["env"] = JSONValue(texts: ["A": half, "B": half])
        draft["cwd"] = .string("/" + String(repeating: "\u{1}", count: 250))
        let spec = try draft.validated(defaults: SpecDraft.Defaults(user: "user"))
        let record = ServiceRecord(id: "id", spec: spec, createdAt: Timestamp(microseconds: 0))
        try store.save(record)
        let loaded = try store.load()
        #expect(loaded.unreadable.isEmpty)
        #expect(loaded.records == [record])
    }
}

@Suite struct UnitDirectoryTests {
    private let directory: TemporaryDirectory
    private let layout: StateLayout
    private let units: UnitDirectory

    init() throws {
        directory = try TemporaryDirectory()
        layout = StateLayout(stateDirectory: directory.path + "/state", unitDirectory: directory.path + "/units")
        try FileManager.default.createDirectory(atPath: layout.unitDirectory, withIntermediateDirectories: false)
        units = UnitDirectory(layout)
        try units.prepare()
    }

    private var unit: String { layout.unitDirectory + "/miosa-service-web.service" }
    private var link: String { layout.unitDirectory + "/multi-user.target.wants/miosa-service-web.service" }
    private var environment: String { layout.environmentDirectory + "/web.env" }

    private func record(_ change: (inout SpecDraft) -> Void = { _ in }) throws -> ServiceRecord {
        ServiceRecord(id: "id", spec: try Rig.spec("web", change), createdAt: Timestamp(microseconds: 0))
    }

    private func exists(_ path: String) -> Bool { (try? FileManager.default.attributesOfItem(atPath: path)) != nil }

    private func mode(_ path: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    }

    /// The times of everything that systemd looks at.
    private func times() throws -> [Date?] {
        try [unit, layout.unitDirectory, link, environment, layout.environmentDirectory].filter(exists).map { path in
            try FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date
        }
    }

    @Test func `a second write of the same changes nothing`() throws {
        let record = try record { $0["env"] = ["A": "b"] }
        #expect(try units.write(record))
        let before = try times()
        #expect(before.count == 5)
        #expect(try !units.write(record))
        #expect(try times() == before)
    }

    @Test func `the files are what the record says`() throws {
        let record = try record { $0["env"] = ["A": "b"] }
        try units.write(record)
        let text = try String(contentsOfFile: unit, encoding: .utf8)
        #expect(text == UnitFile.render(record.spec, id: record.id, privateFile: environment))
        #expect(try Array(text.utf8) == units.read(record))
        #expect(try String(contentsOfFile: environment, encoding: .utf8) == "A=\"b\"\n")
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == unit)
        #expect(try mode(unit) == 0o644)
        #expect(try mode(environment) == 0o600)
        #expect(try mode(layout.environmentDirectory) == 0o700)
    }

    @Test func `there is an environment file only when there is an environment`() throws {
        #expect(try units.write(try record()))
        #expect(!exists(environment))
        #expect(try units.write(try record { $0["env"] = ["A": "b"] }))
        #expect(exists(environment))
        #expect(try units.write(try record()))
        #expect(!exists(environment))
        #expect(try !String(contentsOfFile: unit, encoding: .utf8).contains("EnvironmentFile"))
    }

    @Test func `a file that somebody changed is written anew`() throws {
        let record = try record { $0["env"] = ["A": "b"] }
        try units.write(record)
        for path in [unit, environment] {
            for text in ["", "longer than what was there by far: \(String(repeating: "x", count: 2000))"] {
                try text.write(toFile: path, atomically: false, encoding: .utf8)
                #expect(try units.write(record))
                #expect(try !units.write(record))
            }
            try FileManager.default.removeItem(atPath: path)
            try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: "/dev/null")
            #expect(try units.write(record))
            #expect(try FileManager.default.attributesOfItem(atPath: path)[.type] as? FileAttributeType == .typeRegular)
        }
    }

    @Test func `an environment file that somebody opened to others is closed again`() throws {
        let record = try record { $0["env"] = ["A": "b"] }
        try units.write(record)
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: environment)
        try units.write(record)
        #expect(try mode(environment) == 0o600)
    }

    @Test func `the link is there when the service is enabled`() throws {
        var record = try record()
        try units.write(record)
        #expect(exists(link))
        record.isToRun = false
        #expect(try units.write(record))
        #expect(!exists(link))
        #expect(try !units.setEnabled(false, record.spec.name))
        #expect(try units.setEnabled(true, record.spec.name))
        #expect(try !units.setEnabled(true, record.spec.name))
        try FileManager.default.removeItem(atPath: link)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "/elsewhere")
        #expect(try units.setEnabled(true, record.spec.name))
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == unit)
    }

    @Test func `a removal is complete and can be made again`() throws {
        let record = try record { $0["env"] = ["A": "b"] }
        try units.write(record)
        for _ in 0..<2 {
            try units.remove(record.spec.name)
            for path in [unit, link, environment] { #expect(!exists(path)) }
        }
        try FileManager.default.removeItem(atPath: layout.unitDirectory)
        try units.remove(record.spec.name)
    }

    @Test func `what a crash left is removed and what is not ours stays`() throws {
        try units.write(try record { $0["env"] = ["A": "b"] })
        let wants = layout.unitDirectory + "/multi-user.target.wants"
        let ours = [
            layout.unitDirectory + "/.miosa-service-web.service.tmp", wants + "/.miosa-service-web.service.tmp",
            layout.environmentDirectory + "/.web.env.tmp",
        ]
        let others = [layout.unitDirectory + "/.other.service.tmp", layout.unitDirectory + "/miosa-service-x.tmp"]
        for path in ours + others { try "x".write(toFile: path, atomically: false, encoding: .utf8) }
        try units.removeTemporaries()
        for path in ours { #expect(!exists(path)) }
        for path in others + [unit, link, environment] { #expect(exists(path)) }
    }
}
