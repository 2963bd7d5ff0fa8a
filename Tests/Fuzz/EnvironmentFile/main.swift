import FuzzSupport
import Glibc
import JSON
import Services
import SystemdReader

/// An input is a list of variables, as in `NAME=value`, with U+001F between them. Where they make a spec, the process
/// gets exactly them: from the file as systemd reads it, or from the credential as the launcher reads it where
/// systemd cannot carry a value. Without variables there is no file.
func property(_ input: [UInt8]) {
    guard let texts = Pieces.split(input, cuts: .max) else { return }
    var draft = SpecDraft()
    draft["name"] = "web"
    draft["command"] = "server"
    var environment: [String: String] = [:]
    for text in texts where !text.isEmpty {
        let name = text.unicodeScalars.prefix { $0 != "=" }
        environment[String(name)] = String(text.unicodeScalars[name.endIndex...].dropFirst())
    }
    draft["env"] = JSONValue(texts: environment)
    guard let spec = try? draft.validated(defaults: SpecDraft.Defaults(user: "user")) else { return }
    SpecRules.check(spec)
    guard let file = PrivateFile.render(spec) else {
        return require(environment.isEmpty, "a service with variables has a file", environment)
    }
    let expected = environment.sorted { $0.key < $1.key }.map { Variable(name: $0.key, value: Array($0.value.utf8)) }
    do throws(ReaderProblem) {
        let isCarried = !environment.values.contains { value in
            value.unicodeScalars.contains { $0.value & 0xFFFE == 0xFFFE || (0xFDD0...0xFDEF).contains($0.value) }
        }
        let found = isCarried ? try systemdVariables(file) : try launcherVariables(file)
        require(found == expected, "the process gets the variables", file)
    } catch {
        require(false, "an environment is read without a complaint", (error, file))
    }
}

/// What a process gets.
struct Variable: Equatable {
    let name: String
    let value: [UInt8]
}

/// The variables in an environment file.
func systemdVariables(_ file: String) throws(ReaderProblem) -> [Variable] {
    try EnvironmentFileReader.read(file).map { Variable(name: $0.name, value: $0.value) }
}

/// The variables in the launcher's credential, which has the command, too.
func launcherVariables(_ credential: String) throws(ReaderProblem) -> [Variable] {
    let (variables, words) = try CredentialReader.read(credential)
    let command = ["/home/user", "server"].map { Array($0.utf8) }
    require(words == command, "the launcher becomes the command", credential)
    return variables.map { variable in
        let name = variable.prefix { $0 != UInt8(ascii: "=") }
        return Variable(
            name: String(decoding: name, as: UTF8.self),
            value: Array(variable[name.endIndex...].dropFirst())
        )
    }
}

exit(Fuzzer.run(property))
