import JSON
import SystemdReader
import TestSupport
import Testing

@testable import Services

@Suite struct SyntaxRoundTripTests {
    private static let service = [
        "Type", "ExecStart", "User", "WorkingDirectory", "EnvironmentFile", "Restart", "TimeoutStopSec",
        "TimeoutStartSec", "RestartSec", "LogRateLimitIntervalSec", "LogRateLimitBurst", "IgnoreSIGPIPE",
        "NotifyAccess", "Slice", "IOAccounting", "SyslogIdentifier", "SyslogLevelPrefix", "LogExtraFields",
    ]

    /// Whether systemd changes into the directory itself: not where it has a component "." or "..".
    private static func isSystemds(_ path: String) -> Bool {
        !path.split(separator: "/").contains { $0 == "." || $0 == ".." }
    }

    /// Whether the name of the path's mount unit is short enough for systemd.
    private static func isMountable(_ path: String) -> Bool {
        let plain = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/:_.".utf8)
        return path.utf8.map { plain.contains($0) ? 1 : 4 }.reduce(0, +) <= 240
    }

    @Test(arguments: [0x5EED, 0xBEEF, 1, 2] as [UInt64])
    func `whatever is in a spec comes out of its unit file and nothing else does`(seed: UInt64) throws {
        var generator = SplitMix64(state: seed)
        for index in 0..<500 {
            let command = "x" + Samples.text(&generator, scalarsLimit: 60, without: [])
            let path = "/" + Samples.text(&generator, scalarsLimit: 30, without: ["\n", "\r"])
            let spec = try Samples.spec { draft in
                draft["command"] = .string(command)
                draft["cwd"] = .string(path)
                draft["env"] = ["A": "b"]
            }
            let text = UnitFile.render(spec, id: "1-2", privateFile: "/var/lib/%n/a b.env")
            let context = "seed \(seed), case \(index): \(text.debugDescription)"
            do {
                let sections = try UnitReader.read(text)
                #expect(sections.keys.sorted() == ["Install", "Service", "Unit"], "\(context)")
                let isSystemds = Self.isSystemds(path)
                let keys = Self.service.filter { isSystemds || $0 != "WorkingDirectory" }
                #expect(sections["Service"]?.map(\.key) == keys, "\(context)")
                let hasMounts = isSystemds && Self.isMountable(path)
                let unit = ["Description", "After", "StartLimitIntervalSec", "StartLimitBurst"]
                #expect(sections["Unit"]?.map(\.key) == unit + (hasMounts ? ["RequiresMountsFor"] : []), "\(context)")
                #expect(sections["Install"]?.count == 1, "\(context)")
                if hasMounts {
                    let mounts = try UnitReader.paths(sections["Unit"]?.last?.value ?? "")
                    #expect(mounts == [Array(path.utf8)], "\(context)")
                }
                let values = Dictionary(sections["Service"] ?? []) { first, _ in first }
                let words = try UnitReader.words(values["ExecStart"] ?? "")
                let launch = ["/usr/lib/miosa-agent/launch-1", "miosa-service-web", path]
                #expect(
                    words == (launch + ShellCommand.words(for: command, in: .sh)).map { Array($0.utf8) },
                    "\(context)"
                )
                let directory = try UnitReader.specifiersExpanded(Array((values["WorkingDirectory"] ?? "").utf8))
                #expect(directory == (isSystemds ? Array("-\(path)".utf8) : []), "\(context)")
                let environment = try UnitReader.specifiersExpanded(Array((values["EnvironmentFile"] ?? "").utf8))
                #expect(environment == Array("/var/lib/%n/a b.env".utf8), "\(context)")
            } catch let problem as ReaderProblem {
                Issue.record("\(problem); \(context)")
            }
        }
    }

    @Test func `the reader knows bad syntax`() {
        for value in [":/bin/sh \"a", ":/bin/sh \"a\"b", "/bin/sh", ":a\\b", ":\"\\q\"", ":\"\\x0\"", ":%h", ":\"a\\"] {
            #expect(throws: ReaderProblem.self, "\(value)") { try UnitReader.words(value) }
        }
        for text in ["a=b", "[Unit]\nnothing", "[Unit]\na=b\\\nc", "[Unit\n"] {
            #expect(throws: ReaderProblem.self, "\(text)") { try UnitReader.read(text) }
        }
    }
    @Test(arguments: [["/bin/a"], ["/bin/a", ""], ["/bin/a", "", "b", " ", ";", "$A", "%i"]])
    func `any words are the words of a command line`(words: [String]) throws {
        #expect(try UnitReader.words(UnitSyntax.execStart(words)) == words.map { Array($0.utf8) })
    }

    @Test func `a unit file is read as systemd reads it`() throws {
        let sections = try UnitReader.read("# a\n[A]\n ; b\nk= v \"w\" \t\n\nk=\n[B]\nl==")
        #expect(sections["A"]?.map(\.key) == ["k", "k"] && sections["A"]?.map(\.value) == ["v \"w\"", ""])
        #expect(sections["B"]?.map(\.value) == ["="])
        #expect(throws: ReaderProblem.self) { try UnitReader.read("[A]\nk=\(Samples.noncharacter)") }
        #expect(throws: ReaderProblem.self) { try UnitReader.read("[A]\nk=\0") }
        #expect(
            try UnitReader.words(":a  \"\\x41\\n\\s%%\" 'b\"'\t%i") == ["a", "A\n %", "b\"", ""].map { Array($0.utf8) }
        )
    }
}

@Suite struct EnvironmentFileReaderTests {
    @Test func `values are what systemd makes of them`() throws {
        let variables = try EnvironmentFileReader.read("A=\"b\\\"\\\\\\$\\`\\c\\\nd\ne\r#\"\n_1=\"\"\n")
        #expect(variables.map(\.name) == ["A", "_1"])
        #expect(variables.map(\.value) == [Array("b\"\\$`\\cd\ne\r#".utf8), []])
        #expect(try EnvironmentFileReader.read("").isEmpty)
    }

    @Test(arguments: [
        "A", "A=b\n", "A=\"b", "A=\"b\"", "A=\"b\"c\n", "1=\"b\"\n", "=\"\"\n", "A=\"\\", " A=\"\"\n", "A=\"\0\"\n",
    ])
    func `anything but a quoted value is a problem`(text: String) {
        #expect(throws: ReaderProblem.self) { try EnvironmentFileReader.read(text) }
    }
}

@Suite struct CredentialReaderTests {
    @Test func `strings are what the launcher makes of them`() throws {
        let (variables, words) = try CredentialReader.read("2\0A=b\nc\0B=\0/srv\02\0/bin/sh\0\0")
        #expect(variables == ["A=b\nc", "B="].map { Array($0.utf8) })
        #expect(words == ["/srv", "/bin/sh", ""].map { Array($0.utf8) })
    }

    @Test(arguments: [
        "", "0", "0\0/srv\01\0a", "0\0/srv\0", "0\0/srv\01\0", "0\0/srv\00\0", "0\0/srv\02\0a\0",
        "0\0/srv\01\0a\0b\0", "x\0/srv\01\0a\0", "-1\0/srv\01\0a\0", "2\0A=\0/srv\01\0a\0",
    ])
    func `a list that is cut or counted wrong is a problem`(text: String) {
        #expect(throws: ReaderProblem.self) { try CredentialReader.read(text) }
    }
}
