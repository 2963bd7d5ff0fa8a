import EnvironmentText
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

struct EnvironmentRulesTests {
    @Test(arguments: [(nil, false), (252, true), (253, true), (254, false), (257, false)] as [(Int?, Bool)])
    func `a comment with a backslash at its end goes on in earlier versions`(version: Int?, continues: Bool) {
        #expect(SettingsOrigin.rules(version).continuesComments == continues)
        #expect(!SettingsOrigin.rules(version).skipsExport)
    }
}
