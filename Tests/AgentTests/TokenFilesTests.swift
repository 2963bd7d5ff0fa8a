import API
import Foundation
import Systemd
import TestSupport
import Testing

@testable import miosa_agent

/// The files that hold the tokens of identities.
struct TokenFilesTests {
    private let directory: TemporaryDirectory
    private let token = String(repeating: "t", count: 32)

    init() throws { directory = try TemporaryDirectory() }

    private func write(_ name: String, _ content: String, mode: Int = 0o600) throws {
        let path = directory.path + "/" + name
        try Data(content.utf8).write(to: URL(filePath: path))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    /// The names and roles of the identities, and the problems without the directory.
    private func read() -> (identities: [String], problems: [String]) {
        let files = TokenFiles(in: directory.path)
        return (
            files.identities.map { "\($0.name) \($0.role.rawValue)" },
            files.problems.map { $0.replacing(directory.path + "/", with: "") }
        )
    }

    @Test func `each file is an identity with a role`() throws {
        try write("prometheus.metrics", token + "\n")
        try write("dashboard.read", token + "2")
        try write("control-plane.admin", "sha256:" + String(repeating: "0a", count: 32))
        try write(".control-plane.admin.swp", "an editor's")
        let (identities, problems) = read()
        #expect(identities == ["control-plane admin", "dashboard read", "prometheus metrics"])
        #expect(problems.isEmpty)
    }

    @Test func `a missing directory has no tokens`() {
        let files = TokenFiles(in: directory.path + "/missing")
        #expect(files.identities.isEmpty && files.problems.isEmpty)
    }

    @Test(arguments: ["name", "name.owner", "a.b.read", "ä.read", "name.Admin"])
    func `a name that is none is told`(name: String) throws {
        try write(name, token)
        let (identities, problems) = read()
        #expect(identities.isEmpty)
        #expect(problems.count == 1)
        #expect(problems[0].hasPrefix("'\(name)': the name is not NAME.ROLE"))
        #expect(problems[0].hasSuffix("metrics, read, admin"))
    }

    @Test(arguments: [0o640, 0o604, 0o620, 0o602, 0o611])
    func `a file that others could read or write is refused`(mode: Int) throws {
        try write("a.read", token, mode: mode)
        let (identities, problems) = read()
        #expect(identities.isEmpty)
        #expect(problems == ["'a.read': the file is not root's alone (mode 0600)"])
    }

    @Test func `what is no regular file is refused`() throws {
        try write("good.read", token)
        let path = directory.path
        try FileManager.default.createSymbolicLink(
            atPath: path + "/link.read",
            withDestinationPath: path + "/good.read"
        )
        try FileManager.default.createDirectory(atPath: path + "/directory.read", withIntermediateDirectories: false)
        let (identities, problems) = read()
        #expect(identities == ["good read"])
        #expect(problems.count == 2)
    }

    @Test func `a directory that others could write has no tokens`() throws {
        try write("a.read", token)
        try FileManager.default.setAttributes([.posixPermissions: 0o770], ofItemAtPath: directory.path)
        let (identities, problems) = read()
        #expect(identities.isEmpty)
        #expect(problems.count == 1)
    }

    @Test(arguments: [
        "", "short", "two words of a token that is long enough", "\u{e9}ttttttttttttttttttttttttttttttttt",
    ])
    func `a content that is no token is told without it`(content: String) throws {
        try write("a.read", content)
        let (identities, problems) = read()
        #expect(identities.isEmpty)
        #expect(problems.count == 1)
        #expect(problems[0].hasPrefix("'a.read': the content is neither a token of 32 to 256 visible ASCII characters"))
        #expect(content.isEmpty || !problems[0].contains(content))
    }

    @Test func `the longest token fits with its line end and one past it is refused`() throws {
        try write("a.read", String(repeating: "t", count: 256) + "\n")
        try write("b.read", String(repeating: "u", count: 257) + "\n")
        let (identities, problems) = read()
        #expect(identities == ["a read"])
        #expect(problems.count == 1)
    }

    @Test func `an identity has one role`() throws {
        try write("a.admin", token)
        try write("a.read", token + "2")
        let (identities, problems) = read()
        #expect(identities == ["a admin"])
        #expect(problems == ["'a.read': there is another file for the identity 'a', which has one role"])
    }

    @Test func `files are read up to a limit`() throws {
        for number in 0..<TokenFiles.countLimit { try write("a\(number).read", token + String(number)) }
        #expect(read().identities.count == TokenFiles.countLimit)
        try write("one-more.read", token)
        let (identities, problems) = read()
        #expect(identities.isEmpty)
        #expect(problems.count == 1)
    }

    private func valid(_ credential: String?) throws -> ValidConfiguration {
        let given = Configuration(flags: [:], environment: [:]) { $0 == "token" ? credential : nil }
        return try ValidConfiguration(given, tokenFiles: TokenFiles(in: directory.path), machineID: "machine")
    }

    @Test func `a file takes the place of the credential`() throws {
        #expect(try valid("0123456789abcdef").identities.all.map(\.name) == ["control-plane"])
        try write("prometheus.metrics", token)
        #expect(try valid("0123456789abcdef").identities.all.map(\.name) == ["control-plane", "prometheus"])
        try write("control-plane.admin", token + "2")
        let former = try valid(nil).identities
        let now = try valid("0123456789abcdef").identities.keeping(former)
        #expect(now.changes(since: former) == "no identity has changed")
    }

    @Test func `a token that two identities share counts for neither`() throws {
        try write("a.read", token)
        try write("b.admin", token)
        try write("c.read", token + "c")
        let valid = try valid(nil)
        #expect(valid.identities.all.map(\.name) == ["c"])
        #expect(valid.tokenProblems == ["the identities 'a' and 'b' have the same token"])
    }
}
