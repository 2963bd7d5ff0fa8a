import JSON
import Testing

@testable import Services

@Suite struct SpecTests {
    /// What is wrong with a draft, by field.
    private func problems(_ change: (inout SpecDraft) -> Void) -> [String: String] {
        do throws(FieldProblems) {
            _ = try Samples.spec(change)
            return [:]
        } catch {
            return Dictionary(error.all.map { ($0.field, $0.reason) }) { first, _ in first }
        }
    }

    @Test func `what is left out gets its default`() throws {
        let spec = try Samples.spec()
        #expect(spec.name.description == "web")
        #expect(spec.command == "server")
        #expect(spec.environment.isEmpty)
        #expect(spec.workingDirectory == "/home/user")
        #expect(spec.restart == .onFailure)
        #expect(spec.port == nil)
        #expect(spec.user == "user")
    }

    @Test func `what is given is taken as it is`() throws {
        let spec = try Samples.spec { draft in
            draft["command"] = " sleep  1 \n"
            draft["env"] = ["A": " b\n", "_": ""]
            draft["cwd"] = "/srv/a b/"
            draft["restart"] = "always"
            draft["port"] = 8080
            draft["user"] = "www-data"
        }
        #expect(spec.command == " sleep  1 \n")
        #expect(spec.environment == ["A": " b\n", "_": ""])
        #expect(spec.workingDirectory == "/srv/a b/")
        #expect(spec.restart == .always)
        #expect(spec.port == 8080)
        #expect(spec.user == "www-data")
    }

    // MARK: Names

    @Test(arguments: ["a", "web", "web-1", "a-", "a--b", "a0", String(repeating: "a", count: 63)])
    func `a name of letters, digits and hyphens is taken`(text: String) {
        #expect(ServiceName(text)?.description == text)
        #expect(ServiceName.problem(in: text) == nil)
    }

    @Test(arguments: [
        ("", "must not be empty"), (String(repeating: "a", count: 64), "must be at most 63 characters long"),
        ("1a", "must start with a letter a to z"), ("-a", "must start with a letter a to z"),
        ("Web", "must start with a letter a to z"), ("éa", "must start with a letter a to z"),
        ("wEb", "may hold only a to z, 0 to 9 and '-'"), ("a_b", "may hold only a to z, 0 to 9 and '-'"),
        ("a.b", "may hold only a to z, 0 to 9 and '-'"), ("a b", "may hold only a to z, 0 to 9 and '-'"),
        ("a\n", "may hold only a to z, 0 to 9 and '-'"), ("a/b", "may hold only a to z, 0 to 9 and '-'"),
        ("a\0", "may hold only a to z, 0 to 9 and '-'"), ("aé", "may hold only a to z, 0 to 9 and '-'"),
        ("a@b", "may hold only a to z, 0 to 9 and '-'"), ("a%i", "may hold only a to z, 0 to 9 and '-'"),
    ])
    func `any other name is refused with the reason`(text: String, reason: String) {
        #expect(ServiceName(text) == nil)
        #expect(problems { $0["name"] = .string(text) } == ["name": reason])
    }

    @Test(arguments: [
        ("web.1000", "web", 1000), ("a-.1", "a-", 1),
        (String(repeating: "a", count: 63) + ".4294967295", String(repeating: "a", count: 63), UInt32.max),
    ])
    func `the name of an account's own service ends in the uid`(text: String, local: String, uid: UInt32) throws {
        let name = try #require(ServiceName(text))
        #expect(name.owner == uid)
        #expect(name.local == local)
        #expect(ServiceName(local, of: uid) == name)
        #expect(ServiceName(local)?.owner == nil)
        #expect(UnitName.service(ofUnit: UnitName.unit(of: name)) == name)
    }

    @Test(arguments: [
        "web.", "web.0", "web.01", "web.+1", "web.-1", "web.a", "web.4294967296", "web.1.1", ".1", "web.1 ", "Web.1",
        String(repeating: "a", count: 64) + ".1",
    ])
    func `any other uid is refused`(text: String) {
        #expect(ServiceName(text) == nil)
    }

    @Test(arguments: ["web.1", "", "a b", String(repeating: "a", count: 64)])
    func `an account's own name is a name without a uid`(text: String) {
        #expect(ServiceName(text, of: 1000) == nil)
    }

    /// User, the account that wrote the spec, and the name, of the service; whether alice (1000) owns it.
    @Test(arguments: [
        ("alice", nil, "web", true), ("alice", 1000, "web", true), ("alice", 1000, "web.1000", true),
        ("bob", nil, "web", false), ("root", nil, "web", false),
        // A former account of her name.
        ("alice", 1001, "web", false), ("alice", 1001, "web.1001", false), ("alice", nil, "web.1001", false),
        // A former name of hers.
        ("alicia", 1000, "web.1000", true), ("alicia", 1000, "web", true), ("alicia", nil, "web", false),
    ])
    func `an account owns what runs as it`(user: String, account: UInt32?, name: String, isOwner: Bool) throws {
        let spec = try Samples.spec { draft in
            draft["name"] = .string(name)
            draft["user"] = .string(user)
            draft.account = account
        }
        #expect(Account(uid: 1000, name: "alice", home: "/").owns(spec) == isOwner)
    }

    @Test func `names are ordered by their characters`() throws {
        let names = try ["web", "api", "a-b", "a0", "ab"].map { try #require(ServiceName($0)) }
        #expect(names.sorted().map(\.description) == ["a-b", "a0", "ab", "api", "web"])
    }

    // MARK: Limits

    @Test func `a command of the limit is taken and one byte more is refused`() {
        let longest = String(repeating: "é", count: 32 * 1024)
        #expect(problems { $0["command"] = .string(longest) } == [:])
        #expect(problems { $0["command"] = .string(longest + "x") } == ["command": "must be at most 65536 bytes long"])
    }

    @Test(arguments: ["", " ", "\n", " \t\r\n", "\u{2003}"]) func `a blank command is refused`(command: String) {
        #expect(problems { $0["command"] = .string(command) } == ["command": "must not be blank"])
    }

    @Test func `NUL is refused everywhere`() {
        #expect(problems { $0["command"] = "a\0b" } == ["command": "must not contain NUL"])
        #expect(problems { $0["cwd"] = "/a\0" } == ["cwd": "must not contain NUL, CR or LF"])
        #expect(problems { $0["env"] = ["A": "\0"] } == ["env": "has NUL in the value of 'A'"])
        #expect(problems { $0["user"] = "a\0" } == ["user": "may hold only letters, digits, '_', '-' and '.'"])
    }

    private func variables(_ count: Int) -> [String: String] {
        Dictionary((0..<count).map { ("V\($0)", "") }) { first, _ in first }
    }

    @Test func `so many variables are taken and one more is refused`() {
        #expect(problems { $0["env"] = JSONValue(texts: variables(256)) } == [:])
        #expect(problems { $0["env"] = JSONValue(texts: variables(257)) } == ["env": "must have at most 256 entries"])
    }

    @Test func `a value of the limit is taken and one byte more is refused`() {
        let longest = String(repeating: "v", count: 64 * 1024)
        #expect(problems { $0["env"] = JSONValue(texts: ["A": longest]) } == [:])
        let reason = "has a value of more than 65536 bytes for 'A'"
        #expect(problems { $0["env"] = JSONValue(texts: ["A": longest + "v"]) } == ["env": reason])
    }

    @Test func `a variable's name of the limit is taken and one byte more is refused`() {
        let longest = String(repeating: "N", count: 1024)
        #expect(problems { $0["env"] = JSONValue(texts: [longest: ""]) } == [:])
        #expect(problems { $0["env"] = [longest + "N": ""] } == ["env": "has a name of more than 1024 bytes"])
    }

    @Test func `an environment of the limit is taken and one byte more is refused`() {
        let half = String(repeating: "v", count: 64 * 1024 - 1)
        #expect(problems { $0["env"] = JSONValue(texts: ["A": half, "B": half]) } == [:])
        let reason = "must be at most 131072 bytes in all"
        #expect(problems { $0["env"] = JSONValue(texts: ["A": half, "B": half + "v"]) } == ["env": reason])
    }

    @Test(arguments: ["A", "a", "_", "_0", "A_b9", "PATH"]) func `a variable's name is taken`(name: String) {
        #expect(problems { $0["env"] = JSONValue(texts: [name: "v"]) } == [:])
    }

    @Test(arguments: [
        ("", ""), ("0A", "0A"), ("A-B", "A-B"), ("A B", "A B"), ("A=B", "A=B"), ("É", "É"), ("A\n", "A?"),
        ("A\0", "A?"), (String(repeating: "!", count: 50), String(repeating: "!", count: 40)),
    ])
    func `any other variable's name is refused and shown without harm`(name: String, shown: String) {
        let reason = "has the name '\(shown)', which is not of the form [A-Za-z_][A-Za-z0-9_]*"
        #expect(problems { $0["env"] = JSONValue(texts: [name: "v"]) } == ["env": reason])
    }

    @Test func `a message never holds a value`() {
        let secret = "hunter2\0"
        #expect(
            problems { $0["env"] = JSONValue(texts: ["A": secret, "B!": secret]) }["env"]?.contains("hunter2") == false
        )
    }

    @Test func `a working directory of the limit is taken and one byte more is refused`() {
        let longest = "/" + String(repeating: "a/", count: 2047)
        #expect(longest.utf8.count == 4095)
        #expect(problems { $0["cwd"] = .string(longest) } == [:])
        let reason = "must be at most 4095 bytes long"
        #expect(problems { $0["cwd"] = .string(longest + "a") } == ["cwd": reason])
    }

    @Test(arguments: ["", "srv", "./srv", "~", "~/x", " /srv", "-/srv"])
    func `a working directory that is not absolute is refused`(path: String) {
        #expect(problems { $0["cwd"] = .string(path) } == ["cwd": "must be an absolute path"])
    }

    @Test(arguments: ["/a\n", "/a\nUser=root", "/a\r", "/a\r\nb"])
    func `a working directory of several lines is refused`(path: String) {
        #expect(problems { $0["cwd"] = .string(path) } == ["cwd": "must not contain NUL, CR or LF"])
    }

    @Test(arguments: ["always", "on-failure", "no"]) func `a restart policy is taken`(word: String) throws {
        #expect(try Samples.spec { $0["restart"] = .string(word) }.restart.rawValue == word)
    }

    @Test(arguments: ["", "Always", "never", "on_failure", "onFailure", "on-abort"])
    func `any other restart policy is refused`(word: String) {
        #expect(
            problems { $0["restart"] = .string(word) } == ["restart": "must be one of 'always', 'on-failure', 'no'"]
        )
    }

    @Test(arguments: [1, 80, 65535]) func `a port is taken`(port: Int) throws {
        #expect(try Samples.spec { $0["port"] = .number(JSONNumber(port)) }.port == port)
    }

    @Test(arguments: [0, -1, 65536, Int.max, Int.min]) func `any other port is refused`(port: Int) {
        #expect(problems { $0["port"] = .number(JSONNumber(port)) } == ["port": "must be from 1 to 65535"])
    }

    @Test(arguments: ["a", "user", "_apt", "www-data", "A.b-c_9", String(repeating: "u", count: 32)])
    func `an account is taken`(user: String) throws {
        #expect(try Samples.spec { $0["user"] = .string(user) }.user == user)
    }

    @Test(arguments: [
        ("", "must not be empty"), (String(repeating: "u", count: 33), "must be at most 32 bytes long"),
        ("0", "must start with a letter or '_'"), ("-u", "must start with a letter or '_'"),
        (".u", "must start with a letter or '_'"), ("@u", "must start with a letter or '_'"),
        ("[u", "must start with a letter or '_'"), ("`u", "must start with a letter or '_'"),
        ("{u", "must start with a letter or '_'"), ("éu", "must start with a letter or '_'"),
        ("u$", "may hold only letters, digits, '_', '-' and '.'"),
        ("u v", "may hold only letters, digits, '_', '-' and '.'"),
        ("u%h", "may hold only letters, digits, '_', '-' and '.'"),
        ("u:v", "may hold only letters, digits, '_', '-' and '.'"),
        ("u\n", "may hold only letters, digits, '_', '-' and '.'"),
        ("ué", "may hold only letters, digits, '_', '-' and '.'"),
    ])
    func `any other account is refused with the reason`(user: String, reason: String) {
        #expect(problems { $0["user"] = .string(user) } == ["user": reason])
    }

    // MARK: All at once

    @Test func `everything that is wrong is told at once, in the order of the fields`() {
        var draft = SpecDraft()
        draft["command"] = " "
        draft["env"] = ["1": ""]
        draft["cwd"] = "srv"
        draft["restart"] = "maybe"
        draft["port"] = 0
        draft["user"] = ""
        let problems = #expect(throws: FieldProblems.self) {
            try draft.validated(defaults: SpecDraft.Defaults(user: "user"))
        }
        #expect(problems?.all.map(\.field) == ["name", "command", "env", "cwd", "restart", "port", "user"])
        #expect(problems?.all.first?.reason == "is required")
    }

    @Test func `what is known to be wrong comes first and is not told twice`() {
        var known = FieldProblems()
        known.add("extra", "is not a field of a service")
        known.add("port", "must be an integer")
        known.add("port", "is told once")
        known.add("name", nil)
        let draft = Samples.draft { $0["port"] = 0 }
        let problems = #expect(throws: FieldProblems.self) {
            try draft.validated(defaults: SpecDraft.Defaults(user: "user"), problems: known)
        }
        #expect(
            problems?.all.map { "\($0.field) \($0.reason)" } == [
                "extra is not a field of a service", "port must be an integer",
            ]
        )
    }
}
