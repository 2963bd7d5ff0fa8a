internal import API
internal import Systemd

/// The identities in files: `NAME.ROLE` holds the token of the identity NAME, or `sha256:HEX` of it.
struct TokenFiles {
    /// The valid identities, and why the other files are refused.
    private(set) var identities: [Identity] = []
    private(set) var problems: [String] = []

    static let directory = "/etc/miosa-agent/tokens"
    /// The number of files that are read.
    static let countLimit = 256

    /// No files.
    init() {}

    /// Reads the files of a directory. A missing directory has none; hidden files, of editors, are skipped.
    init(in path: String) {
        do throws(SystemError) {
            let directory = try Directory(path)
            guard try !directory.isWritableByOthers(".") else {
                problems = ["'\(path)': another account than root could write tokens there"]
                return
            }
            let names = try directory.names().filter { !$0.hasPrefix(".") }.sorted()
            guard names.count <= Self.countLimit else {
                problems = ["'\(path)': there are \(names.count) files, more than \(Self.countLimit)"]
                return
            }
            for name in names { read(name, directory, "'\(path)/\(name)'") }
        } catch let error where error.isNotFound {
            return
        } catch {
            problems.append("'\(path)': \(error.reason)")
        }
    }

    private mutating func read(_ name: String, _ directory: borrowing Directory, _ path: String) {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, Identity.isName(String(parts[0])), let role = Role(rawValue: String(parts[1])) else {
            let roles = Role.allCases.map(\.rawValue).joined(separator: ", ")
            problems.append(
                "\(path): the name is not NAME.ROLE, with a NAME of 1 to \(Identity.nameBytesLimit) letters, digits,"
                    + " '-' and '_', and a ROLE of \(roles)"
            )
            return
        }
        if identities.contains(where: { $0.name == parts[0] }) {
            problems.append("\(path): there is another file for the identity '\(parts[0])', which has one role")
            return
        }
        do throws(SystemError) {
            guard let mode = try directory.mode(of: name), mode & 0o077 == 0,
                try !directory.isWritableByOthers(name)
            else {
                problems.append("\(path): the file is not root's alone (mode 0600)")
                return
            }
            var bytes = try directory.read(name, limitBytes: BearerToken.bytes.upperBound + 1) ?? []
            if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
            guard let text = String(validating: bytes, as: UTF8.self), let token = BearerToken(text) else {
                problems.append(
                    "\(path): the content is neither a token of \(BearerToken.bytes.lowerBound) to"
                        + " \(BearerToken.bytes.upperBound) visible ASCII characters nor 'sha256:' with 64"
                        + " hexadecimal digits"
                )
                return
            }
            identities.append(Identity(String(parts[0]), role, token))
        } catch {
            problems.append("\(path): \(error.reason)")
        }
    }
}
