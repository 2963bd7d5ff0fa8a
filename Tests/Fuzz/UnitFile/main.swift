import FuzzSupport
import Glibc
import JSON
import Services
import SystemdReader

/// An input is an account, a directory, the value of a variable and a command, with U+001F between them. Where they
/// make a spec, these hold:
///
/// 1. Its unit file has the sections, settings and values that it is meant to have, in order, and no other.
/// 2. systemd's words of `ExecStart=` are the launcher's and then the command's, byte for byte, and likewise the
///    directory; what systemd cannot carry is in the credential that takes their place, and only there.
/// 3. A shell gets the command as it is; there is none where no byte of it has a meaning to it.
func property(_ input: [UInt8]) {
    guard let texts = Pieces.split(input, cuts: 3), texts.count == 4 else { return }
    var draft = SpecDraft()
    draft["name"] = "web"
    draft["user"] = .string(texts[0])
    draft["cwd"] = .string(texts[1])
    draft["env"] = JSONValue(texts: texts[2].isEmpty ? [:] : ["A": texts[2]])
    draft["command"] = .string(texts[3])
    guard let spec = try? draft.validated(defaults: SpecDraft.Defaults(user: "user")) else { return }
    SpecRules.check(spec)
    let unit = UnitFile.render(spec, id: "0d4fcb5e", privateFile: "/var/lib/50% a/web.env ")
    do {
        try Expectation(spec).check(UnitReader.read(unit), privateFile: PrivateFile.render(spec))
    } catch {
        require(false, "a unit file is read without a complaint", (error, unit))
    }
}

exit(Fuzzer.run(property))
