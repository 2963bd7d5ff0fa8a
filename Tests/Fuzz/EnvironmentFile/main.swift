import FuzzSupport
import Glibc
import Services
import SystemdReader

/// An input is a list of variables, as in `NAME=value`, with U+001F between them. Where they make a spec, the process
/// gets exactly them: from the file as systemd reads it, or from the script as the shell reads it where systemd cannot
/// carry a value. Without variables there is no file.
func property(_ input: [UInt8]) {
    guard let texts = Pieces.split(input, cuts: .max) else { return }
    var draft = SpecDraft()
    draft.name = "web"
    draft.command = "server"
    var environment: [String: String] = [:]
    for text in texts where !text.isEmpty {
        let name = text.unicodeScalars.prefix { $0 != "=" }
        environment[String(name)] = String(text.unicodeScalars[name.endIndex...].dropFirst())
    }
    draft.environment = environment
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
        let found = isCarried ? try systemdVariables(file) : try shellVariables(file)
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

/// The variables that a script exports; it does nothing else but forget its own place and become the command.
func shellVariables(_ script: String) throws(ReaderProblem) -> [Variable] {
    let commands = try ShellReader.read(script).map { words in words.map { String(decoding: $0, as: UTF8.self) } }
    require(commands.first == ["unset", "CREDENTIALS_DIRECTORY"], "the script forgets its own place", script)
    require(commands.last == ["exec", "/bin/sh", "-c", "exec server"], "the script becomes the command", script)
    return commands.dropFirst().dropLast().map { words in
        require(words.count == 2 && words[0] == "export", "the script exports one variable in a line", script)
        let name = words[1].utf8.prefix { $0 != UInt8(ascii: "=") }
        let value = words[1].utf8[name.endIndex...].dropFirst()
        return Variable(name: String(decoding: name, as: UTF8.self), value: Array(value))
    }
}

exit(Fuzzer.run(property))
