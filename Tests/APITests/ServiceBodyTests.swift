import API
import HTTP
import JSON
import Services
import Testing

struct ServiceBodyTests {
    private let client = Client()

    private func spec(_ body: String) async throws -> ServiceSpec {
        let reply = try await client.send(.post, "/v1/services", body)
        #expect(reply.status == 201, "\(reply.text)")
        return try #require(client.control.specs.last)
    }

    /// The fields that a body is refused for.
    private func refused(_ body: String, _ method: HTTP.Method = .post, _ path: String = "/v1/services") async throws
        -> [String]
    {
        let reply = try await client.send(method, path, body)
        #expect(reply.status == 422, "\(reply.text)")
        #expect(try reply.code == "VALIDATION_ERROR")
        #expect(client.control.calls.isEmpty)
        return try reply.details
    }

    @Test func `what is left out has its default`() async throws {
        let spec = try await spec(#"{"name":"web","command":"serve"}"#)
        #expect(spec.environment == [:])
        #expect(spec.workingDirectory == "/home/user")
        #expect(spec.restart == .onFailure)
        #expect(spec.port == nil)
        #expect(spec.user == "user")
    }

    @Test func `every field arrives`() async throws {
        let spec = try await spec(
            #"{"name":"web","command":"serve","env":{"A":"b"},"cwd":"/srv","restart":"always","port":80,"user":"www"}"#
        )
        #expect(spec.environment == ["A": "b"])
        #expect(spec.workingDirectory == "/srv")
        #expect(spec.restart == .always)
        #expect(spec.port == 80)
        #expect(spec.user == "www")
    }

    @Test func `null is as good as left out`() async throws {
        let spec = try await spec(
            #"{"name":"web","command":"x","env":null,"cwd":null,"working_dir":null,"restart":null,"port":null,"user":null}"#
        )
        #expect(spec.workingDirectory == "/home/user")
    }

    @Test(arguments: [
        (#""working_dir":"/srv""#, "/srv", RestartPolicy.onFailure),
        (#""restart_policy":"no""#, "/home/user", .no),
        (#""auto_restart":true"#, "/home/user", .onFailure),
        (#""auto_restart":false"#, "/home/user", .no),
        (#""cwd":"/a","working_dir":"/a","restart":"no","auto_restart":false"#, "/a", .no),
    ])
    func `the libraries' names mean the same`(member: String, cwd: String, restart: RestartPolicy) async throws {
        let spec = try await spec(#"{"name":"web","command":"x",\#(member)}"#)
        #expect(spec.workingDirectory == cwd)
        #expect(spec.restart == restart)
    }

    @Test(arguments: [
        (#""cwd":"/a","working_dir":"/b""#, "working_dir"),
        (#""restart":"always","auto_restart":true"#, "auto_restart"),
        (#""restart_policy":"no","restart":"always""#, "restart"),
        // The same character in two spellings is two paths.
        (#""cwd":"/\u00e9","working_dir":"/e\u0301""#, "working_dir"),
    ])
    func `two names with different values are refused`(members: String, field: String) async throws {
        #expect(try await refused(#"{"name":"web","command":"x",\#(members)}"#) == [field])
    }

    @Test(arguments: [
        (#""name":1"#, "name"), (#""command":["x"]"#, "command"), (#""env":[]"#, "env"), (#""env":{"A":1}"#, "env"),
        (#""cwd":true"#, "cwd"), (#""restart":{}"#, "restart"), (#""auto_restart":"yes""#, "auto_restart"),
        (#""port":"80""#, "port"), (#""port":80.5"#, "port"), (#""port":0"#, "port"), (#""port":65536"#, "port"),
        (#""port":1e400"#, "port"), (#""user":7"#, "user"), (#""surprise":null"#, "surprise"),
    ])
    func `a wrong type or value names its field`(member: String, field: String) async throws {
        var members = [#""name":"web""#, #""command":"x""#].filter { !member.hasPrefix($0.prefix { $0 != ":" }) }
        members.append(member)
        #expect(try await refused("{" + members.joined(separator: ",") + "}") == [field])
    }

    @Test(arguments: [("80.0", 80), ("2352.0", 2352), ("6.5535e4", 65535), ("1", 1)])
    func `an integer may be written as JSON Schema allows`(text: String, port: Int) async throws {
        #expect(try await spec(#"{"name":"web","command":"x","port":\#(text)}"#).port == port)
    }

    @Test func `everything that is wrong is named at once`() async throws {
        let fields = try await refused(
            #"{"name":"W","command":" ","env":{"1":""},"cwd":"x","restart":"y","port":0,"z":1}"#
        )
        #expect(Set(fields) == ["name", "command", "env", "cwd", "restart", "port", "z"])
    }

    @Test func `what is required and missing is named`() async throws {
        #expect(try await refused("{}") == ["name", "command"])
    }

    @Test func `put takes the name from the path`() async throws {
        #expect(try await client.send(.put, "/v1/services/web", #"{"command":"x"}"#).status == 201)
        #expect(try await client.send(.put, "/v1/services/web", #"{"name":"web","command":"x"}"#).status == 201)
        #expect(client.control.calls == ["replace web", "replace web"])
    }

    @Test func `put refuses another name in the body and a path that is none`() async throws {
        #expect(try await refused(#"{"name":"other","command":"x"}"#, .put, "/v1/services/web") == ["name"])
        #expect(try await refused(#"{"command":"x"}"#, .put, "/v1/services/No") == ["name"])
    }

    @Test(arguments: [
        ("", 0), ("x", 0), (#"{"name":"web",}"#, 14), (#"{"a":1}{}"#, 7), (#"{"a":1,"a":1}"#, 7), ("[1", 2),
    ])
    func `what is no JSON is refused with the place`(body: String, offset: Int) async throws {
        let reply = try await client.send(.post, "/v1/services", body)
        #expect(reply.status == 400)
        #expect(try reply.code == "BAD_REQUEST")
        #expect(try reply.object["details"]?.encoded() == Array(#"{"offset":\#(offset)}"#.utf8))
    }

    @Test(arguments: ["[]", "1", "null", #""text""#])
    func `JSON that is no object is refused`(body: String) async throws {
        #expect(try await client.send(.post, "/v1/services", body).status == 400)
    }
}
