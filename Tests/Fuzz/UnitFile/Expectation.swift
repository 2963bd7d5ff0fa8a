import FuzzSupport
import Services
import SystemdReader

/// What is to be in the unit file of a spec and in the file beside it.
struct Expectation {
    typealias Settings = [(key: String, value: String)]

    private let spec: ServiceSpec
    private let isScripted: Bool
    private let isDirectorySystemds: Bool

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
        var unit = sections["Unit"] ?? []
        let mounts = try take("RequiresMountsFor", from: &unit).map { try UnitReader.paths($0) }
        let hasMounts = isDirectorySystemds && Self.isMountable(spec.workingDirectory)
        require(
            mounts == (hasMounts ? [Array(spec.workingDirectory.utf8)] : nil),
            "it waits for the mount of its directory",
            unit
        )
        check(
            unit,
            [
                ("Description", "Service web"), ("After", "network-online.target"), ("StartLimitIntervalSec", "10"),
                ("StartLimitBurst", "5"),
            ]
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
                ("Type", "exec"), ("User", spec.user), ("Restart", spec.restart.rawValue), ("TimeoutStopSec", "10"),
                ("TimeoutStartSec", "60"), ("RestartSec", "1"), ("LogRateLimitIntervalSec", "1us"),
                ("LogRateLimitBurst", "1000000"), ("IgnoreSIGPIPE", "no"), ("NotifyAccess", "main"),
                ("Slice", "miosa-services.slice"), ("IOAccounting", "yes"), ("SyslogIdentifier", "miosa-service-web"),
                ("SyslogLevelPrefix", "no"), ("LogExtraFields", "MIOSA_SERVICE_ID=0d4fcb5e"),
            ]
        )

        let identifier = "miosa-service-web"
        let words = isScripted ? ["--credential", identifier] : [identifier] + launch()
        let found = try UnitReader.words(command ?? "")
        let launcher = "/usr/lib/miosa-agent/launch-1"
        require(found == ([launcher] + words).map { Array($0.utf8) }, "systemd runs the command", command)
        let path = try directory.map { try UnitReader.specifiersExpanded(Array($0.utf8)) }
        let expected = isDirectorySystemds ? Array("-\(spec.workingDirectory)".utf8) : nil
        require(path == expected, "it goes there", directory)
        let file = "/var/lib/50% a/web.env "
        let variables = try environment.map { try UnitReader.specifiersExpanded(Array($0.utf8)) }
        let hasVariables = !isScripted && !spec.environment.isEmpty
        require(variables == (hasVariables ? Array(file.utf8) : nil), "it reads the environment", environment)
        let name = try credential.map { try UnitReader.specifiersExpanded(Array($0.utf8)) }
        require(name == (isScripted ? Array("launch:\(file)".utf8) : nil), "it has the credential", credential)
        if isScripted { try checkCredential(privateFile ?? "") }
    }

    /// The credential that has the command where systemd cannot carry it.
    private func checkCredential(_ text: String) throws {
        let (variables, words) = try CredentialReader.read(text)
        let expected = spec.environment.map { Array("\($0.key)=\($0.value)".utf8) }
        require(variables == expected, "the credential has the environment", text)
        require(words == launch().map { Array($0.utf8) }, "the credential has the command", text)
    }

    /// The directory, and the words that run the command in it.
    private func launch() -> [String] {
        let words = ShellCommand.words(for: spec.command, in: .sh)
        let isShell = words.count == 3 && words[0] == "/bin/sh" && words[1] == "-c"
        if isShell, words[2].utf8.elementsEqual(spec.command.utf8) { return [spec.workingDirectory] + words }
        let isPlain = spec.command.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                || " \t_-./:=,@%+".utf8.contains(byte)
        }
        require(isPlain, "what means something to the shell is left to it", words)
        let plain = spec.command.utf8.split { $0 == 0x20 || $0 == 0x09 }.map { Array($0) }
        require(words.map { Array($0.utf8) } == plain, "the words are those of the command", words)
        return [spec.workingDirectory] + words
    }

    /// Whether the name of the path's mount unit is short enough for systemd.
    private static func isMountable(_ path: String) -> Bool {
        let plain = Set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/:_.".utf8)
        return path.utf8.map { plain.contains($0) ? 1 : 4 }.reduce(0, +) <= 240
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
