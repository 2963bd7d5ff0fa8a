import Foundation
import JSON
import Testing

@testable import Services

@Suite struct UnitFileTests {
    /// A golden file, and the spec whose unit it is.
    struct Golden: Sendable, CustomTestStringConvertible {
        let name: String
        let draft: SpecDraft

        init(_ name: String, _ change: (inout SpecDraft) -> Void) {
            self.name = name
            draft = Samples.draft(change)
        }

        var testDescription: String { name }

        func render() throws -> String {
            let spec = try draft.validated(defaults: SpecDraft.Defaults(user: "root"))
            return Samples.unitFile(spec)
        }

        /// With a program in the launcher's place that is installed everywhere: systemd looks for it.
        func renderForThisSystem() throws -> String {
            try render().replacingOccurrences(of: UnitFile.launcher, with: "/usr/bin/env")
        }
    }

    static let goldens = [
        Golden("plain") { $0["command"] = "/usr/bin/sleep 60" },
        Golden("shell") { draft in
            draft["name"] = "shell-1"
            draft["command"] = "cd /srv && exec ./run --flag > out.log 2>&1"
            draft["cwd"] = "/srv"
            draft["restart"] = "always"
        },
        Golden("quoting") { draft in
            draft["command"] = "printf '%s\\n' \"a \\\"b\\\" $HOME `id`\" ; echo ;# \\\\ \t\u{1B}[0m"
            draft["cwd"] = "/srv/a \"b\" 'c' \\"
            draft["restart"] = "no"
        },
        Golden("percent") { draft in
            draft["command"] = "date +%Y-%m-%d%%"
            draft["cwd"] = "/srv/50%/%h %"
        },
        Golden("lines") { $0["command"] = "set -e\r\necho one\n[Service]\nUser=root\necho two \\\n  three\n" },
        Golden("unicode") { draft in
            draft["command"] = "echo 'größe 日本語 👩‍👩‍👧 e\u{301} \u{2028}'"
            draft["cwd"] = "/srv/größe/日本語 "
        },
        Golden("environment") { draft in
            draft["env"] = ["SECRET": "hunter2", "PATH": "/opt/bin", "NOTIFY_SOCKET": "/run/mine"]
            draft["user"] = "www-data"
            draft["port"] = 8080
        },
        Golden("pipe") { draft in
            draft["command"] = "nginx -g 'daemon off;'"
            draft["stdio"] = "pipe"
        },
        Golden("account") { draft in
            draft["name"] = "web.1000"
            draft["command"] = "sleep 1; echo %h $SECRET"
            draft["env"] = ["SECRET": "hunter2", "PATH": "/opt/bin"]
            draft["cwd"] = "/home/alice/private"
            draft["user"] = "alice"
            draft.account = 1000
            draft["port"] = 8080
            draft["stdio"] = "pipe"
            draft["env_file"] = "/home/alice/%h.env"
            draft["pre_start"] = ["echo before %h"]
            draft["post_stop"] = ["echo after $SECRET"]
            draft["restart_max_delay"] = 60
        },
        Golden("options") { draft in
            draft["name"] = "options"
            draft["command"] = "exec server --option"
            draft["description"] = "100% of \\ it \\"
            draft["network"] = true
            draft["shell"] = "login"
            draft["group"] = "www-data"
            draft["umask"] = "0027"
            draft["stop_signal"] = "INT"
            draft["stop_timeout"] = 30
            draft["stop_mode"] = "main"
            draft["reload_signal"] = "SIGHUP"
            draft["start_timeout"] = 120
            draft["restart_delay"] = 5
            draft["restart_limit"] = .null
            draft["limits"] = ["memory": "512M", "cpus": 1, "tasks": 64, "open_files": 4096]
            draft["sandbox"] = "strict"
            draft["writable"] = ["/srv/data", "/srv/a b\"%"]
            draft["log_rate_limit"] = 100
            draft["labels"] = ["team": "web"]
            draft["enabled"] = false
        },
        Golden("steps") { draft in
            draft["command"] = "exec server"
            draft["pre_start"] = ["./migrate --all", "test -e /srv/a || echo \"100%\" > /srv/a"]
            draft["post_stop"] = ["rm -f /srv/lock"]
            draft["restart_max_delay"] = 60
            draft["stdio"] = "pipe"
            draft["env"] = ["PATH": "/opt/bin"]
        },
        Golden("env-file") { draft in
            draft["command"] = "exec server"
            draft["env_file"] = ["/etc/web.env", "/srv/a b.env"]
            draft["pre_start"] = ["./migrate --all"]
            draft["post_stop"] = ["rm -f /srv/lock"]
        },
        Golden("basic") { draft in
            draft["sandbox"] = "basic"
            draft["limits"] = ["cpus": .number(JSONNumber(hundredths: 50))]
        },
        Golden("noncharacters") { draft in
            draft["command"] = .string("echo '\(Samples.noncharacter)' | tr -d $'\\n'")
            draft["env"] = JSONValue(texts: ["SECRET": "hunter2\(Samples.noncharacter)"])
            draft["cwd"] = "/srv"
        },
    ]

    static let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Goldens")

    @Test(arguments: goldens) func `a unit file is, byte for byte, the golden one`(golden: Golden) throws {
        let file = Self.folder.appending(path: golden.name + ".service")
        let rendered = try golden.render()
        if ProcessInfo.processInfo.environment["MIOSA_AGENT_WRITE_DOCUMENTS"] != nil {
            try Data(rendered.utf8).write(to: file)
        }
        let expected = try Data(contentsOf: file)
        #expect(Data(rendered.utf8) == expected, "\(rendered)")
    }

    @Test(arguments: goldens) func `systemd takes a unit file without a complaint`(golden: Golden) throws {
        #expect(try Tool.complaints(about: ["\(golden.name).service": golden.renderForThisSystem()]) == nil)
    }

    @Test func `every golden file has its case`() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path).sorted()
        #expect(files == Self.goldens.map { $0.name + ".service" }.sorted())
    }

    @Test func `systemd complains about a unit file that is wrong`() throws {
        let text = try Self.goldens[0].renderForThisSystem()
        #expect(try Tool.complaints(about: ["a.service": text + "Nonsense=1\n"]) != nil)
        let broken = text.replacingOccurrences(of: "ExecStart=:", with: "ExecStart=relative")
        #expect(try Tool.complaints(about: ["a.service": broken]) != nil)
    }

    /// What the rules of a spec let through at its edges.
    @Test(arguments: [
        Golden("longest-command") { $0["command"] = .string("#" + String(repeating: "\u{1}", count: 64 * 1024 - 1)) },
        Golden("longest-directory") { $0["cwd"] = .string("/" + String(repeating: "a/", count: 2047)) },
        Golden("root-directory") { $0["cwd"] = "/" },
        Golden("many-slashes") { $0["cwd"] = "//srv///a//" },
        Golden("dot-in-directory") { $0["cwd"] = "/srv/./a" },
        Golden("parent-in-directory") { $0["cwd"] = "/srv/../a" },
        Golden("long-component") { $0["cwd"] = .string("/" + String(repeating: "c", count: 255)) },
        Golden("longer-component") { $0["cwd"] = .string("/" + String(repeating: "c", count: 256)) },
        Golden("controls-in-directory") { $0["cwd"] = "/srv/\t\u{1}\u{7F}\u{B}" },
        Golden("noncharacter-in-directory") { $0["cwd"] = .string("/srv/\(Unicode.Scalar(0xFFFE) ?? "x")") },
        Golden("noncharacter-in-command") { $0["command"] = .string("echo '\(Unicode.Scalar(0xFDD0) ?? "x")'") },
        Golden("longest-account") { $0["user"] = .string(String(repeating: "u", count: 32)) },
        Golden("account") { $0["user"] = "A.b-c_9" },
        Golden("private-use") { $0["command"] = "echo '\u{E000}\u{10FFFD}\u{FEFF}'" },
    ])
    func `whatever the rules of a spec let through systemd takes`(golden: Golden) throws {
        let result = try Tool.verify(["edge.service": golden.renderForThisSystem()])
        #expect(result.status == 0, "\(result.output.prefix(400))")
    }
}

@Suite struct EnvironmentFileTests {
    @Test(arguments: [
        ([:], ""), (["A": "b"], "A=\"b\"\n"), (["B": "2", "A": "1", "_": ""], "A=\"1\"\nB=\"2\"\n_=\"\"\n"),
        (["A": "\"quoted\" \\ ` $HOME"], "A=\"\\\"quoted\\\" \\\\ \\` \\$HOME\"\n"),
        (["A": "two\nlines\r\n# ; = %h"], "A=\"two\nlines\r\n# ; = %h\"\n"),
        (["A": "größe\t\u{1}"], "A=\"größe\t\u{1}\"\n"),
        (["A": "\"\u{301}$\u{301}"], "A=\"\\\"\u{301}\\$\u{301}\"\n"),
    ])
    func `values are quoted so that they stand for themselves`(environment: [String: String], text: String) {
        #expect(Array(EnvironmentFile.render(environment).utf8) == Array(text.utf8))
    }
}

@Suite struct LaunchCredentialTests {
    @Test(arguments: [247, 251, 252, 257]) func `a command before the start has no credential before version 252`(
        version: Int
    ) throws {
        func refusal(_ change: (inout SpecDraft) -> Void) throws -> ControlError? {
            let spec = try Samples.spec(change)
            do throws(ControlError) {
                try UnitFile.requireSupport(for: spec, bySystemd: version)
                return nil
            } catch {
                return error
            }
        }
        for (field, value) in [("pre_start", ["true"] as JSONValue), ("restart_max_delay", 60)] {
            #expect(try refusal { $0[field] = value } == nil)
            let found = try refusal { draft in
                draft[field] = value
                draft["env_file"] = "/etc/a.env"
            }
            guard version < 252 else {
                #expect(found == nil)
                continue
            }
            guard case .unsupported(field, _) = found else {
                Issue.record("\(String(describing: found))")
                continue
            }
        }
        #expect(try refusal { $0["env_file"] = "/etc/a.env" } == nil)
    }

    @Test func `texts that systemd cannot carry are the launcher's, in a file that only root reads`() throws {
        let spec = try Samples.spec { draft in
            draft["command"] = .string("echo '\(Samples.noncharacter)'")
            draft["env"] = JSONValue(texts: ["B": "it's\n\(Samples.noncharacter) $HOME \\", "A": "plain"])
            draft["cwd"] = .string("/srv/\(Samples.noncharacter)")
        }
        let strings = [
            "2", "A=plain", "B=it's\n\(Samples.noncharacter) $HOME \\", "/srv/\(Samples.noncharacter)", "3", "/bin/sh",
            "-c", "echo '\(Samples.noncharacter)'",
        ]
        let expected = strings.map { $0 + "\0" }.joined()
        #expect(PrivateFile.render(spec).map { Array($0.utf8) } == Array(expected.utf8))
        let unit = Samples.unitFile(spec)
        #expect(!LaunchCredential.hasNoncharacter(unit))
        #expect(!unit.contains("EnvironmentFile=") && !unit.contains("WorkingDirectory="))
    }

    @Test(arguments: [0xFDD0, 0xFDEF, 0xFFFE, 0xFFFF, 0x1FFFE, 0x10FFFF] as [UInt32])
    func `any noncharacter in any text makes the credential needed`(code: UInt32) throws {
        let text = String(try #require(Unicode.Scalar(code)))
        #expect(LaunchCredential.isNeeded(for: try Samples.spec { $0["command"] = .string("echo " + text) }))
        #expect(LaunchCredential.isNeeded(for: try Samples.spec { $0["cwd"] = .string("/" + text) }))
        #expect(LaunchCredential.isNeeded(for: try Samples.spec { $0["env"] = JSONValue(texts: ["A": text]) }))
    }

    @Test(arguments: ["", "a", "\u{FDCF}\u{FDF0}", "\u{FFFD}", "\u{10FFFD}", "\u{E000}"])
    func `no other text does`(text: String) throws {
        let spec = try Samples.spec { draft in
            draft["command"] = .string("echo " + text)
            draft["cwd"] = .string("/" + text)
            draft["env"] = JSONValue(texts: ["A": text])
        }
        #expect(!LaunchCredential.isNeeded(for: spec))
        #expect(PrivateFile.render(spec) == "A=\"\(text)\"\n")
    }

    @Test func `a service without an environment has no such file`() throws {
        #expect(PrivateFile.render(try Samples.spec()) == nil)
    }
}

@Suite struct UnitNameTests {
    @Test(arguments: [("web", "miosa-service-web.service"), ("a-service", "miosa-service-a-service.service")])
    func `a service has a unit and the unit its service`(name: String, unit: String) throws {
        let service = try #require(ServiceName(name))
        #expect(UnitName.unit(of: service) == unit)
        #expect(UnitName.service(ofUnit: unit) == service)
    }

    @Test(arguments: [
        "", "web.service", "miosa-service-.service", "miosa-service-web", "miosa-service-web.socket",
        "miosa-service-Web.service", "miosa-service-web@1.service", "xmiosa-service-web.service",
        "miosa-service.service",
        "miosa-service-web.service.service", "miosa-agent.service", "miosa-services.slice",
        "miosa-service-\(String(repeating: "a", count: 64)).service",
    ])
    func `any other unit has none`(unit: String) {
        #expect(UnitName.service(ofUnit: unit) == nil)
    }

    @Test(arguments: [
        ("a", true), ("a-b", true), ("a-", false), ("a--", false), ("a0000000-0000-4000-8000-00000000000f", false),
        ("a0000000-0000-4000-8000-00000000000g", true), ("a0000000-0000-4000-8000-0000000000000", true),
    ])
    func `a new name does not end in a hyphen and is no UUID`(text: String, isAllowed: Bool) throws {
        #expect((try #require(ServiceName(text)).problemOfNew == nil) == isAllowed)
    }

    @Test func `the identifier in the journal is the unit's name without its type`() throws {
        #expect(UnitName.identifier(of: try #require(ServiceName("web"))) == "miosa-service-web")
    }

    @Test func `the pattern is the unit of every service`() throws {
        #expect(UnitName.pattern == "miosa-service-*.service")
    }

    @Test func `a directory whose mount unit would have too long a name requires none`() throws {
        for (length, isRequired) in [(240, true), (241, false)] {
            let path = "/" + String(repeating: "a", count: length - 1)
            let spec = try Samples.spec { $0["cwd"] = .string(path.count > 255 ? path : "/a" + path.dropFirst(2)) }
            let text = UnitFile.render(spec, id: "1", privateFile: "/x")
            #expect(text.contains("RequiresMountsFor=/a") == isRequired)
        }
    }
}
