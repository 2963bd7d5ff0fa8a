import API
import ServiceManager
import Services
import Systemd
import Testing

@testable import miosa_agent

struct ConfigurationTests {
    private func configuration(
        flags: [String: String] = [:],
        environment: [String: String] = [:],
        credentials: [String: String] = [:]
    ) -> Configuration {
        Configuration(flags: flags, environment: environment) { credentials[$0] }
    }

    private func problems(_ configuration: Configuration, machineID: String? = "machine") -> [String] {
        do throws(Configuration.Problems) {
            _ = try ValidConfiguration(configuration, machineID: machineID)
            return []
        } catch {
            return error.all
        }
    }

    @Test func `without anything the defaults hold`() throws {
        let valid = try ValidConfiguration(configuration(), machineID: "machine")
        #expect(valid.addresses.isEmpty)
        #expect(valid.socket.description == "/run/miosa-agent/api.sock")
        #expect(
            valid.layout == StateLayout(stateDirectory: "/var/lib/miosa-agent", unitDirectory: "/etc/systemd/system")
        )
        #expect(valid.serviceUser == "user")
        #expect(valid.computer == ComputerIdentity(computerID: "machine", tenantID: nil))
        #expect(valid.identities.isEmpty)
    }

    @Test func `a flag comes before a variable and a variable before the default`() {
        let environment = ["MIOSA_AGENT_SERVICE_USER": "variable", "MIOSA_AGENT_SOCKET": "/s"]
        let both = configuration(flags: ["--service-user": "flag"], environment: environment)
        #expect(both.serviceUser == Configuration.Setting(value: "flag", source: "--service-user"))
        #expect(both.socket == Configuration.Setting(value: "/s", source: "MIOSA_AGENT_SOCKET"))
        #expect(both.unitDirectory.source == "default")
    }

    @Test func `a credential comes before a variable`() {
        let environment = ["MIOSA_AGENT_TENANT_ID": "variable", "MIOSA_AGENT_COMPUTER_ID": "variable"]
        let given = configuration(
            environment: environment,
            credentials: ["tenant-id": "credential", "computer-id": ""]
        )
        #expect(given.tenantID == Configuration.Setting(value: "credential", source: "credential"))
        #expect(given.computerID == Configuration.Setting(value: "variable", source: "MIOSA_AGENT_COMPUTER_ID"))
    }

    @Test func `an empty variable is no identity and no token`() {
        let given = configuration(environment: ["MIOSA_AGENT_TENANT_ID": ""], credentials: ["token": ""])
        #expect(given.token == nil)
        #expect(given.tenantID == nil)
    }

    @Test func `systemd's state directory is taken unless another is asked for`() {
        let environment = ["STATE_DIRECTORY": "/from/systemd"]
        #expect(configuration(environment: environment).stateDirectory.value == "/from/systemd")
        let flags = ["--state-directory": "/asked"]
        #expect(configuration(flags: flags, environment: environment).stateDirectory.value == "/asked")
    }

    @Test func `addresses are a list`() throws {
        let given = configuration(flags: ["--listen": " 127.0.0.1:2088  [::1]:2088"])
        let valid = try ValidConfiguration(given, machineID: "machine")
        #expect(valid.addresses.map(\.description) == ["127.0.0.1:2088", "[::1]:2088"])
    }

    @Test func `everything that is wrong is told at once`() {
        let given = configuration(
            flags: [
                "--listen": "localhost:1 127.0.0.1:0", "--socket": "relative", "--unit-directory": "x\ny",
                "--service-user": "-x", "--log-level": "loud",
            ],
            environment: ["MIOSA_AGENT_COMPUTER_ID": "no blanks"],
            credentials: ["token": "short"]
        )
        let found = problems(given)
        #expect(found.count == 8)
        #expect(!found.joined().contains("short"), "the token itself stays out of messages")
    }

    @Test func `a problem names the setting, the value and the reason`() {
        let given = configuration(
            flags: ["--log-level": "loud", "--socket": "/" + String(repeating: "s", count: 107)],
            environment: [
                "MIOSA_AGENT_LISTEN": "abc", "MIOSA_AGENT_SERVICE_USER": "a b", "MIOSA_AGENT_GROUP": "-g",
                "MIOSA_AGENT_TENANT_ID": "no blanks",
            ]
        )
        let found = problems(given)
        for (setting, value) in [
            ("MIOSA_AGENT_LISTEN", "abc"), ("--log-level", "loud"), ("--socket", given.socket.value),
            ("MIOSA_AGENT_SERVICE_USER", "a b"), ("MIOSA_AGENT_GROUP", "-g"), ("MIOSA_AGENT_TENANT_ID", "no blanks"),
        ] {
            #expect(found.count { $0.hasPrefix("\(setting): '\(value)'") } == 1, "\(setting) in \(found)")
        }
        #expect(found.count == 6)
    }

    @Test func `host names are names`() throws {
        let names = "agent.example 10.0.0.1 fe80::1 a_b"
        let valid = try ValidConfiguration(configuration(flags: ["--hosts": names]), machineID: "machine")
        #expect(valid.hosts == ["agent.example", "10.0.0.1", "fe80::1", "a_b"])
        #expect(problems(configuration(flags: ["--hosts": "http://x a:80 ä"])).count == 3)
        let most = Array(repeating: "x", count: ValidConfiguration.hostsLimit).joined(separator: " ")
        #expect(problems(configuration(flags: ["--hosts": most])).isEmpty)
        #expect(problems(configuration(flags: ["--hosts": most + " x"])).count == 1)
        let longest = String(repeating: "x", count: 253)
        #expect(problems(configuration(flags: ["--hosts": longest])).isEmpty)
        #expect(problems(configuration(flags: ["--hosts": longest + "x"])).count == 1)
    }

    @Test func `allowed accounts are names, and the default account is among them`() throws {
        let valid = try ValidConfiguration(configuration(flags: ["--allowed-users": "user web"]), machineID: "machine")
        #expect(valid.allowedUsers == ["user", "web"])
        #expect(try ValidConfiguration(configuration(), machineID: "machine").allowedUsers == nil)
        #expect(
            problems(configuration(flags: ["--allowed-users": "web -x"])) == [
                "--allowed-users: '-x': the account name \(try #require(AccountName.problem(in: "-x")))",
                "--allowed-users: 'user', the default account [default], is not among them",
            ]
        )
        let others = (1..<ValidConfiguration.allowedUsersLimit).map { " u\($0)" }.joined()
        #expect(problems(configuration(flags: ["--allowed-users": "user" + others])).isEmpty)
        #expect(problems(configuration(flags: ["--allowed-users": "user one" + others])).count == 1)
    }

    @Test func `variables that are no settings are found`() {
        let environment = [
            "MIOSA_AGENT_PORT": "1", "MIOSA_AGENT_BOOT_ID": "2", "MIOSA_AGENT_LISTEN": "", "PATH": "/",
            "MIOSA_AGENT_": "",
        ]
        #expect(Configuration.unknownVariables(["MIOSA_AGENT_TOKEN": ""]) == [Configuration.formerTokenVariable])
        #expect(Configuration.unknownVariables(environment) == ["MIOSA_AGENT_", "MIOSA_AGENT_PORT"])
    }

    @Test func `a machine without any id needs one`() {
        #expect(problems(configuration(), machineID: nil).count == 1)
        #expect(problems(configuration(environment: ["MIOSA_AGENT_COMPUTER_ID": "c-1"]), machineID: nil).isEmpty)
    }

    @Test(arguments: [(15, false), (16, true), (4096, true), (4097, false)])
    func `the credential has a shortest and a longest length`(length: Int, isValid: Bool) {
        let token = String(repeating: "t", count: length)
        #expect(problems(configuration(credentials: ["token": token])).isEmpty == isValid)
    }

    @Test(arguments: [(128, true), (129, false)])
    func `an id has a longest length`(length: Int, isValid: Bool) {
        let id = String(repeating: "i", count: length)
        #expect(problems(configuration(environment: ["MIOSA_AGENT_TENANT_ID": id])).isEmpty == isValid)
    }
}

struct CommandTests {
    private func reason(_ arguments: [String]) -> String? {
        do throws(Command.UsageError) {
            _ = try Command(arguments: arguments)
            return nil
        } catch {
            return error.reason
        }
    }

    @Test func `serve is what it does without a word`() throws {
        #expect(try Command(arguments: []) == .serve(flags: [:]))
        #expect(try Command(arguments: ["serve"]) == .serve(flags: [:]))
        #expect(try Command(arguments: ["--listen", ""]) == .serve(flags: ["--listen": ""]))
    }

    @Test func `a flag's value follows it or an equals sign`() throws {
        let flags = ["--socket": "/s", "--service-user": "a=b"]
        #expect(
            try Command(arguments: ["check", "--socket", "/s", "--service-user=a=b"])
                == .check(flags: flags, isJSON: false)
        )
        #expect(
            try Command(arguments: ["check", "--json", "--socket=/s"])
                == .check(flags: ["--socket": "/s"], isJSON: true)
        )
        #expect(reason(["serve", "--json"]) == "unknown argument '--json'")
    }

    @Test func `help and version win over everything else`() throws {
        #expect(try Command(arguments: ["check", "--help"]) == .help)
        #expect(try Command(arguments: ["-h"]) == .help)
        #expect(try Command(arguments: ["--version", "--nonsense"]) == .version)
    }

    @Test func `reload takes no flags`() throws {
        #expect(try Command(arguments: ["reload"]) == .reload)
        #expect(reason(["reload", "--socket", "/s"]) == "'reload' takes no flags")
    }

    @Test func `what makes no sense is told`() {
        #expect(reason(["fly"]) == "unknown command 'fly'")
        #expect(reason(["serve", "--token", "x"]) == "unknown argument '--token'")
        #expect(reason(["--socket"]) == "--socket needs a value")
        #expect(reason(["--socket", "/a", "--socket=/b"]) == "--socket is given twice")
        #expect(reason(["check", "serve"]) == "unknown argument 'serve'")
    }

    @Test func `the usage names every setting`() {
        for option in Configuration.options {
            #expect(Command.usage.contains(option.variable))
            if let flag = option.flag { #expect(Command.usage.contains(flag)) }
        }
    }
}
