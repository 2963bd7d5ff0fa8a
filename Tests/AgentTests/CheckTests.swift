import JSON
import Services
import Systemd
import TestSupport
import Testing

@testable import miosa_agent

@Suite(.onEventLoop)
struct CheckTests {
    @EventLoopActor private func check(
        _ environment: [String: String] = [:],
        flags: [String: String] = [:],
        token: String? = nil,
        commandLine: String = ""
    ) -> Check {
        let origin = SettingsOrigin(flags: flags, environment: environment) { $0 == "token" ? token : nil }
        return Check(origin, machineID: "machine", commandLine: commandLine)
    }

    private func texts(_ check: Check, _ severity: Check.Severity) -> [String] {
        check.findings.filter { $0.severity == severity }.map(\.text)
    }

    @Test @EventLoopActor func `every setting is printed with its source and the token never`() {
        let token = "0123456789abcdef-secret-0123456789"
        let check = check(token: token)
        #expect(check.lines.contains("identity          control-plane: admin  [credential]"))
        #expect(check.lines.contains("computer id       machine  [machine id]"))
        #expect(check.lines.contains("tenant id         (none)"))
        #expect(!(check.lines + check.problems + [check.json]).joined().contains("secret"))
    }

    @Test @EventLoopActor func `everything that is wrong is told at once`() {
        let check = check(["MIOSA_AGENT_LOG_LEVEL": "loud", "MIOSA_AGENT_LISTEN": "x", "MIOSA_AGENT_LOGLEVEL": "info"])
        let reasons = texts(check, .cannotRun)
        #expect(reasons.contains { $0.hasPrefix("MIOSA_AGENT_LISTEN: 'x'") })
        #expect(
            reasons.contains(
                "MIOSA_AGENT_LOG_LEVEL: 'loud' is no log level: error, warning, notice, info or debug"
            )
        )
        #expect(
            texts(check, .fault) == [
                "MIOSA_AGENT_LOGLEVEL is no setting of this version, and is ignored: is it MIOSA_AGENT_LOG_LEVEL?"
            ]
        )
        #expect(!check.isGood)
        #expect(check.problems.first?.hasPrefix("cannot run: ") ?? false)
    }

    @Test(arguments: [
        ("MIOSA_AGENT_LISTENS", "is it MIOSA_AGENT_LISTEN?"), ("MIOSA_AGENT_HOST", "is it MIOSA_AGENT_HOSTS?"),
        ("MIOSA_AGENT_SERVICE_USR", "is it MIOSA_AGENT_SERVICE_USER?"), ("MIOSA_AGENT_BANANAS_AND_CREAM", "there are "),
    ])
    func `a misspelt setting is told with what is meant, or with all there are`(variable: String, remark: String) {
        let text = Configuration.remark(onUnknown: variable)
        #expect(text.contains(": \(remark)"))
        if remark == "there are " {
            for option in Configuration.options { #expect(text.contains(option.variable)) }
        }
    }

    @Test(arguments: [
        ("quiet systemd.set_credential=miosa.token:0123456789abcdef0123456789abcdef", true),
        ("MIOSA_AGENT_TOKEN=x", true), ("other=0123456789abcdef0123456789abcdef", true),
        ("root=/dev/vda1 quiet miosa.computer-id=x", false), ("", false),
    ])
    @EventLoopActor func `a token on the kernel's command line is told`(commandLine: String, isTold: Bool) {
        let check = check(token: "0123456789abcdef0123456789abcdef", commandLine: commandLine)
        #expect(texts(check, .warning).contains { $0.contains("/proc/cmdline") } == isTold)
    }

    @Test @EventLoopActor func `the report is JSON`() throws {
        let check = check(["MIOSA_AGENT_HOSTS": "a b"], flags: ["--group": "no-such-group"])
        guard case .object(let object) = try JSONParser.parse(Array(check.json.utf8)) else {
            Issue.record("no object")
            return
        }
        #expect(object.map(\.key) == ["ok", "unit", "settings", "identities", "listeners", "findings"])
        #expect(check.json.contains(#"{"name":"hosts","value":"a b","source":"MIOSA_AGENT_HOSTS"}"#))
        #expect(check.json.contains(#"{"name":"group","value":"no-such-group","source":"--group"}"#))
        #expect(check.json.contains(#"{"severity":"warning","text":"there is no group 'no-such-group'"#))
    }
}

/// What systemd 252 and 257 make of such lines, as `systemctl show-environment` and a service's environment show.
struct EnvironmentFileTests {
    @Test(arguments: [
        ("A=1\nB=2\n", ["A=1", "B=2"]), ("A=1", ["A=1"]), ("\n\n  A = 1  \n", ["A=1"]), ("A=\n", ["A="]),
        ("# A=1\n;B=2\nC=3\n", ["C=3"]), ("A='x y'\n", ["A=x y"]),
        ("A=\"x y\" \n", ["A=x y"]), ("A=\"a\\\"b\\\\c\\d\"\n", [#"A=a"b\c\d"#]), ("A=a\\\nb\n", ["A=ab"]),
        ("A=a\\ b\\n\n", ["A=a bn"]), ("A='a'\"b\"c\n", ["A=abc"]), ("A=a'b'\n", ["A=a'b'"]),
        ("A=x # y\n", ["A=x # y"]),
        ("A='line\nline'\n", ["A=line\nline"]), ("A=\"line\\\nline\"\n", ["A=lineline"]), ("nothing\nA=1\n", ["A=1"]),
        ("1A=1\nA-B=2\nA=3\n", ["A=3"]), ("export A=1\n", []), ("A=x\r\n", ["A=x"]), ("", []),
    ])
    func `it is read as systemd reads it`(text: String, variables: [String]) {
        for version in [nil, 252, 257] {
            let found = EnvironmentFile.variables(of: text, systemdVersion: version)
            #expect(found.map { "\($0.name)=\($0.value)" } == variables)
        }
    }

    @Test(arguments: [(252, ["B=2"]), (253, ["B=2"]), (254, ["A=1", "B=2"]), (257, ["A=1", "B=2"])])
    func `a comment with a backslash at its end goes on in earlier versions`(version: Int, variables: [String]) {
        let found = EnvironmentFile.variables(of: "# a \\\nA=1\nB=2", systemdVersion: version)
        #expect(found.map { "\($0.name)=\($0.value)" } == variables)
    }
}
