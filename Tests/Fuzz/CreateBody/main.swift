import FuzzSupport
import Glibc
import HTTP
import JSON
import Services

@testable import API

private nonisolated var origin: ServiceBody.Origin { .init(defaults: SpecDraft.Defaults(user: "user")) }

/// An input is the body of a POST that creates a service. These hold:
///
/// 1. Whatever is JSON is the same value once it is written and read again, and with white space around it; it is not
///    JSON any more without its last byte, or with another one behind it.
/// 2. A spec that is accepted is within every documented limit, and has what the members of the body say, or else the
///    defaults.
/// 3. A spec that is accepted is the same spec when a body is made of it.
/// 4. What is refused is refused for a reason: 400 with an offset for what is not JSON, 400 for what is no object, else
///    422 with a sentence for each bad field, which is one of the documented ones or a member of the body.
func property(_ input: [UInt8]) {
    let value = try? JSONParser.parse(input)
    if let value { checkText(value, input) }
    do throws(Failure) {
        let spec = try ServiceBody.spec(of: input, origin)
        SpecRules.check(spec)
        guard case .object(let object) = value else { return require(false, "a spec comes from an object", spec) }
        checkMembers(of: object, spec)
        checkRoundTrip(spec)
    } catch {
        checkRefusal(error, of: value, in: input)
    }
}

/// Property 1.
func checkText(_ value: JSONValue, _ input: [UInt8]) {
    let encoded = value.encoded()
    let again = try? JSONParser.parse(encoded)
    require(again == value, "what is written is the same value", encoded)
    require(again?.encoded() == encoded, "what is written again is the same text", encoded)
    require((try? JSONParser.parse(" \t" + input + "\r\n")) == value, "white space means nothing", encoded)
    require((try? JSONParser.parse(input + "]")) == nil, "nothing comes behind the value", encoded)
    guard ["string", "array", "object"].contains(value.typeName) else { return }
    require((try? JSONParser.parse(encoded.dropLast())) == nil, "a value has an end", encoded)
}

/// Property 2.
func checkMembers(of object: JSONObject, _ spec: ServiceSpec) {
    let name: JSONValue = .string(spec.name.description)
    require(object["name"] == name && object["command"] == .string(spec.command), "a spec has its name", object)
    require((object["user"] ?? .null) == .null || object["user"] == .string(spec.user), "a user is kept", object)
    require(
        (object["user"] ?? .null) != .null || spec.user == origin.defaults.user,
        "without one it is the usual",
        object
    )
    let directories = [object["cwd"], object["working_dir"]].compactMap(\.self).filter { $0 != .null }
    require(directories.allSatisfy { $0 == .string(spec.workingDirectory) }, "a directory is kept", object)
    require(!directories.isEmpty || spec.workingDirectory == "/home/user", "without one it is the usual", object)
    var policies = [object["restart"], object["restart_policy"]].compactMap(\.self).filter { $0 != .null }
    if case .bool(let isAutomatic) = object["auto_restart"] { policies.append(isAutomatic ? "on-failure" : "no") }
    require(policies.allSatisfy { $0 == .string(spec.restart.rawValue) }, "a policy is kept", object)
    require(!policies.isEmpty || spec.restart == .onFailure, "without one it is the usual", object)
    if case .number(let number) = object["port"] {
        require(Double(number.text) == spec.port.map(Double.init), "a port is kept", object)
    } else {
        require(spec.port == nil, "no port is made up", object)
    }
    for field in SpecFields.options {
        guard let given = object[field.key], given != .null || field.takesNull else {
            require(field.value(in: spec) == field.standardValue, "an absent field has its default", object)
            continue
        }
        require(field.value(in: spec) == field.canonical(given), "a field is kept", object)
    }
    guard case .object(let variables) = object["env"] else {
        return require(spec.environment.isEmpty, "no environment is made up", object)
    }
    require(variables.count == spec.environment.count, "there are as many variables", object)
    for (name, value) in variables {
        require(spec.environment[name].map { .string($0) } == value, "a variable is kept", object)
    }
}

/// Property 3.
func checkRoundTrip(_ spec: ServiceSpec) {
    var body = JSONObject()
    for field in SpecFields.all { body.append(field.key, field.value(in: spec)) }
    let bytes = JSONValue.object(body).encoded()
    let again = try? ServiceBody.spec(of: bytes, .init(name: spec.name.description, defaults: .init(user: "other")))
    require(again == spec, "a spec is the same when it is sent again", bytes)
}

/// Property 4.
func checkRefusal(_ failure: Failure, of value: JSONValue?, in input: [UInt8]) {
    guard let value else {
        require(failure.status.code == 400, "what is not JSON is a bad request", failure)
        guard case .number(let offset) = failure.details["offset"], let offset = offset.integer else {
            return require(false, "what is not JSON has an offset", failure)
        }
        return require((0...input.count).contains(offset), "an offset lies within the body", failure)
    }
    guard case .object(let object) = value else {
        return require(failure.status.code == 400, "what is no object is a bad request", failure)
    }
    require(failure.status.code == 422, "an object that is no spec is unprocessable", failure)
    require(!failure.details.isEmpty, "a refusal names a field", failure)
    let documented = ["name", "command", "env", "cwd", "restart", "port", "user"]
    for (field, reason) in failure.details {
        // "limits.memory", "writable[1]"
        let part = String(field.prefix { $0 != "." && $0 != "[" })
        let isKnown = documented.contains(field) || object[field] != nil || object[part] != nil
        require(isKnown, "a bad field is one of the body", failure)
        guard case .string(let reason) = reason, !reason.isEmpty else {
            return require(false, "a bad field has a reason", failure)
        }
        require(failure.sentence.utf8.contains("'\(field)' \(reason)".utf8), "a sentence has it all", failure)
    }
}

private func + (text: String, bytes: [UInt8]) -> [UInt8] { Array(text.utf8) + bytes }

private func + (bytes: [UInt8], text: String) -> [UInt8] { bytes + Array(text.utf8) }

exit(Fuzzer.run(property))
