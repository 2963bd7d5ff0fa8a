import FuzzSupport
import Services
import SystemdReader

/// What is to be in the unit file of a spec and in the file beside it.
struct Expectation {
    typealias Settings = [(key: String, value: String)]

    private let spec: ServiceSpec
    private let isScripted: Bool
    private let isDirectorySystemds: Bool

    private static let streams = [
        "/usr/bin/systemd-cat", "-t", "miosa-service-web", "-p", "info", "--stderr-priority=err", "--level-prefix=no",
        "/bin/sh", "-c", "echo \u{2060}; echo \u{2060} >&2; exec \"$@\"", "sh",
    ]

    init(_ spec: ServiceSpec) {
        self.spec = spec
        let texts = [spec.command, spec.workingDirectory] + spec.environment.values
        isScripted = texts.contains(where: Self.hasNoncharacter)
        let components = spec.workingDirectory.utf8.split(separator: UInt8(ascii: "/")).map(Array.init)
        isDirectorySystemds =
            !Self.hasNoncharacter(spec.workingDirectory)
            && components.allSatisfy { $0.count <= 255 && $0 != [0x2E] && $0 != [0x2E, 0x2E] }
    }

    func check(_ sections: [String: Settings], privateFile: String?) throws {
        require(sections.keys.sorted() == ["Install", "Service", "Unit"], "there are three sections", sections)
        check(
            sections["Unit"] ?? [],
            [("Description", "Service web"), ("StartLimitIntervalSec", "10"), ("StartLimitBurst", "5")]
        )
        check(sections["Install"] ?? [], [("WantedBy", "multi-user.target")])

        var service = sections["Service"] ?? []
        let command = take("ExecStart", from: &service)
        let directory = take("WorkingDirectory", from: &service)
        let environment = take("EnvironmentFile", from: &service)
        let credential = take("LoadCredential", from: &service)
        check(
            service,
            [
                ("Type", "exec"), ("User", spec.user), ("Restart", spec.restart.rawValue), ("RestartSec", "1"),
                ("TimeoutStopSec", "10"), ("Slice", "miosa-services.slice"), ("IOAccounting", "yes"),
                ("LogExtraFields", "MIOSA_SERVICE_ID=0d4fcb5e"), ("LogRateLimitIntervalSec", "1us"),
                ("LogRateLimitBurst", "1000000"),
            ]
        )

        let words = isScripted ? ["/bin/sh", "-c", ". \"$CREDENTIALS_DIRECTORY/launch\""] : launch()
        let found = try UnitReader.words(command ?? "")
        require(found == (Self.streams + words).map { Array($0.utf8) }, "systemd runs the command", command)
        let path = try directory.map { try UnitReader.specifiersExpanded(Array($0.utf8)) }
        require(path == (isDirectorySystemds ? Array(spec.workingDirectory.utf8) : nil), "it goes there", directory)
        let file = "/var/lib/50% a/web.env "
        let variables = try environment.map { try UnitReader.specifiersExpanded(Array($0.utf8)) }
        let hasVariables = !isScripted && !spec.environment.isEmpty
        require(variables == (hasVariables ? Array(file.utf8) : nil), "it reads the environment", environment)
        let script = try credential.map { try UnitReader.specifiersExpanded(Array($0.utf8)) }
        require(script == (isScripted ? Array("launch:\(file)".utf8) : nil), "it has the credential", credential)
        if isScripted { try checkScript(privateFile ?? "") }
    }

    /// The script that runs the command where systemd cannot carry it.
    private func checkScript(_ script: String) throws {
        let exports = spec.environment.map { ["export", "\($0.key)=\($0.value)"] }
        let commands = [["unset", "CREDENTIALS_DIRECTORY"]] + exports + [["exec"] + launch()]
        let found = try ShellReader.read(script)
        require(found == commands.map { $0.map { Array($0.utf8) } }, "the script runs the command", script)
    }

    /// The words that run the command in its directory.
    private func launch() -> [String] {
        let change = isDirectorySystemds ? [] : ["/usr/bin/env", "--chdir=\(spec.workingDirectory)", "--"]
        return change + ["/bin/sh", "-c", script()]
    }

    private func script() -> String {
        let script = ShellCommand.script(for: spec.command)
        guard script.utf8.count != spec.command.utf8.count else {
            require(script.utf8.elementsEqual(spec.command.utf8), "the shell gets the command", script)
            return script
        }
        require(script.utf8.elementsEqual("exec \(spec.command)".utf8), "nothing but exec comes before it", script)
        let isPlain = spec.command.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                || " \t_-./:=,@%+".utf8.contains(byte)
        }
        require(isPlain, "what means something to the shell is left to it", script)
        return script
    }

    private static func hasNoncharacter(_ text: String) -> Bool {
        text.unicodeScalars.contains { $0.value & 0xFFFE == 0xFFFE || (0xFDD0...0xFDEF).contains($0.value) }
    }

    /// Removes the one setting with that key, if there is one.
    private func take(_ key: String, from settings: inout Settings) -> String? {
        guard let index = settings.firstIndex(where: { $0.key == key }) else { return nil }
        return settings.remove(at: index).value
    }

    private func check(_ found: Settings, _ expected: Settings) {
        let isSame = found.count == expected.count
        require(isSame && zip(found, expected).allSatisfy { $0 == $1 }, "no other setting is there", found)
    }
}
